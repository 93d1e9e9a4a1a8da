"""The Debian guest: systemd, networkd and the real cloud-init on a disk, booted directly by its kernel.

cloud-init configures only the NICs that network-config names, so a networkd file of low priority runs DHCP
on the others, as the distributions' cloud images do. Names stay eth0, eth1: `net.ifnames=0`.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from nncp.lab.debian import BOOKWORM, STABLE, run, sources
from vmnet.rack import cpio, tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nncp.lab.debian import Archive

SUITES = STABLE
INCLUDE = ("busybox-static", "cloud-init", "dbus", "iproute2", "iputils-ping", "kmod", "systemd-sysv", "udev")
PACKAGES = ("linux-image-cloud-amd64", *INCLUDE)
SIZE = "1G"  # of the disk; only what is used takes space

FILES = {
    "etc/systemd/network/99-others.network": """\
# Whatever no other file configures.
[Match]
Name=eth*
[Network]
DHCP=ipv4
[DHCPv4]
ClientIdentifier=mac
UseMTU=yes
""",
    "etc/cloud/cloud.cfg.d/90_rack.cfg": """\
datasource_list: [NoCloud, None]
system_info:
  network: {renderers: [networkd]}
# What a guest of the lab can be told; growing disks, locales and keys only cost time under TCG.
cloud_init_modules: [bootcmd, write-files, set_hostname, users-groups]
cloud_config_modules: [set-passwords, runcmd]
cloud_final_modules: [scripts-user, final-message]
""",
    # A NIC without a DHCP server must not hold up the boot for two minutes.
    "etc/systemd/system/systemd-networkd-wait-online.service.d/rack.conf": """\
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=20
""",
    "etc/systemd/system/watch.service": """\
[Unit]
Description=Echo on TCP 7, a watch over memory and disk with its verdict on TCP 8
[Service]
ExecStartPre=/bin/sh -c 'head -c 32768 /dev/zero > /var/lib/watched; sync /var/lib/watched'
ExecStart=/bin/sh /usr/local/lib/serve /var/lib/watched
IgnoreSIGPIPE=no
StandardOutput=journal+console
[Install]
WantedBy=sysinit.target
""",
    "usr/local/lib/serve": """\
busybox nc -ll -p 7 -e cat &
busybox nc -ll -p 8 -e cat /run/verdict &
exec sh /usr/local/lib/watch "$1"
""",
    "etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
    "etc/machine-id": "",
}
# What a guest of the lab never needs and a start under TCG would wait for.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-timesyncd.service",
)

INIT = b"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order
mount -o rw "$(findfs LABEL=root)" /root
exec switch_root /root /sbin/init
"""


def recipe() -> bytes:
    """Return what decides the image beside the packages."""
    return repr((INCLUDE, SIZE, FILES, MASKED, INIT, _customize.__code__.co_code)).encode() + tiny.recipe()


def build(archive: Archive, folder: Path, say: Callable[[str], None]) -> None:
    """Put `vmlinuz`, `initrd`, `cmdline` and `disk.img` into `folder`."""
    work = folder.parent
    say("unpacks its kernel")
    archive.unpack(archive.resolve("linux-image-cloud-amd64"), work / "kernel")
    say(f"installs {len(INCLUDE)} packages and what they need into a root (about 45 s)")
    root = work / "root"
    _mmdebstrap(archive, root)
    _customize(root, work / "kernel")
    shutil.copy(next((work / "kernel" / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
    (folder / "initrd").write_bytes(_initrd(root, work / "kernel"))
    (folder / "cmdline").write_text("console=ttyS0 quiet net.ifnames=0", encoding="ascii")
    say("makes its disk")
    archive.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(folder / "disk.img"), SIZE])


def _mmdebstrap(archive: Archive, root: Path) -> None:
    lean = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "info", "locale", "man")]
    include = f"--include={','.join(INCLUDE)}"
    command = ["mmdebstrap", "--quiet", "--variant=apt", *lean, include, BOOKWORM, str(root)]
    archive.run([*command, *sources(SUITES)])


def _customize(root: Path, kernel: Path) -> None:
    shutil.copytree(kernel / "lib" / "modules", root / "lib" / "modules", symlinks=True)
    run(["chroot", str(root), "depmod", next((root / "lib" / "modules").iterdir()).name])
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    (root / "usr" / "local" / "lib" / "watch").write_bytes(tiny.guest_files()["watch"])
    run(["systemctl", f"--root={root}", "--quiet", "enable", "systemd-networkd", "watch"])
    run(["systemctl", f"--root={root}", "--quiet", "mask", *MASKED])
    run(["chroot", str(root), "passwd", "--quiet", "--delete", "root"])  # a console without a network login


def _initrd(root: Path, kernel: Path) -> bytes:
    modules = {path.stem: path.read_bytes() for path in kernel.glob("lib/modules/**/*.ko")}
    busybox = (root / "bin" / "busybox").read_bytes()
    applets = ("sh", "mount", "insmod", "findfs", "switch_root")
    entries = {
        **{path: cpio.folder() for path in ("bin", "modules", "proc", "sys", "dev", "root")},
        "bin/busybox": cpio.file(busybox),
        **{f"bin/{name}": cpio.link("busybox") for name in applets},
        **{f"modules/{name}.ko": cpio.file(modules[name]) for name in tiny.MODULES},
        "modules/order": cpio.file("".join(f"{name}\n" for name in tiny.MODULES).encode()),
        "init": cpio.file(INIT),
    }
    return cpio.archive(entries)
