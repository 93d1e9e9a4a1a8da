# The first process of a machine of the lab: makes its files its own, then holds its namespaces.
#
# $1 is its name, $2 the folder that is its disk, $3 the lines that mount its control groups, if it has any;
# then come folders that begin empty on its disk, whatever this machine has there.
name=$1 disk=$2 groups=$3
shift 3
hostname "$name"
[ -z "$groups" ] || umount -l /sys  # whoever looks for control groups is to find these, not the ones below
mount -t sysfs sys /sys
if [ -n "$groups" ]; then
  mount --make-rshared /  # a kubelet hands mounts on
  eval "$groups"
fi
mount -t tmpfs -o mode=755 run /run
# An overlay costs nothing until something is written.
for folder in etc opt var; do
  mkdir -p "$disk/$folder/upper" "$disk/$folder/work"
  mount -t overlay -o "lowerdir=/$folder,upperdir=$disk/$folder/upper,workdir=$disk/$folder/work" own "/$folder"
done
for folder; do
  mkdir -p "$disk/own$folder" "$folder"
  mount --bind "$disk/own$folder" "$folder"
done
echo "$name" > /etc/hostname
grep -q "^127.0.1.1 $name$" /etc/hosts || echo "127.0.1.1 $name" >> /etc/hosts
# There is no name server: libvirt, which asks for its own name amid a migration, would wait 5 s for it.
rm -f /etc/resolv.conf
: > /etc/resolv.conf
echo "hosts: files" > /etc/nsswitch.conf
ip link set lo up
echo ready
exec </dev/null >/dev/null 2>&1
[ -n "$groups" ] || exec sleep infinity
# It is process 1, and reaps what loses its parent.
while :; do
  sleep infinity &
  wait
done
