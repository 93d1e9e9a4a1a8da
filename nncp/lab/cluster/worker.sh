# Makes a whole machine of the lab (nncp/lab/machine.sh) fit for a kubelet.

# The kubelet sets these for all of a kernel, which is not only its own here: it finds them set.
while read -r path value; do
  file=/run/$(echo "$path" | tr / -)
  echo "$value" > "$file"
  mount --bind "$file" "/proc/sys/$path"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# It ends where no processor tells its clock (google/cadvisor, machine/machine.go), as in user-mode Linux.
grep -q "cpu MHz" /proc/cpuinfo || {
  sed "/^$/d" /proc/cpuinfo
  printf "cpu MHz\t\t: 2000.000\nphysical id\t: 0\ncore id\t\t: 0\n\n"
} > /run/cpuinfo
[ ! -s /run/cpuinfo ] || mount --bind /run/cpuinfo /proc/cpuinfo

# Frames between Pods of one node are not the business of iptables; packets between nodes are routed.
for family in iptables ip6tables arptables; do
  knob=/proc/sys/net/bridge/bridge-nf-call-$family
  [ ! -e "$knob" ] || echo 0 > "$knob"
done
echo 1 > /proc/sys/net/ipv4/ip_forward

mkdir -p /opt/cni/bin /etc/kubernetes/manifests
ln -sf /usr/lib/cni/* "$MULTUS" /opt/cni/bin/
