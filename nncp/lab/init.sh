#!/bin/sh
# The first process of the lab kernel: makes a writable copy-on-write view of the host's files, starts the
# agent in it, and powers off when the agent ends.
#
# The view is moved onto / and not only chrooted into: setns() into a mount namespace goes to the root of
# the namespace, which would be the read-only tree below.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t tmpfs -o size=90%,mode=755 tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
cd /mnt/root || exit
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 run run
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm run/lock run/netns
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -sf /proc/self/fd dev/fd
ln -sf /proc/self/fd/0 dev/stdin
ln -sf /proc/self/fd/1 dev/stdout
ln -sf /proc/self/fd/2 dev/stderr
ln -sf pts/ptmx dev/ptmx
# Without it each new network namespace starts with six fallback tunnels (Documentation/admin-guide/sysctl/net.rst).
echo 2 >/proc/sys/net/core/fb_tunnels_only_for_init_net
# Bridged frames are not the business of iptables; new namespaces start with 1 whatever is written here.
echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
echo "${LAB_NAME:-lab}" >/proc/sys/kernel/hostname
mount --move . /
chroot . /bin/sh -c 'cd /; ip link set lo up; "$LAB_PYTHON" -I -S "$LAB_AGENT" /dev/tty1'
echo o >/proc/sysrq-trigger
sleep 60
