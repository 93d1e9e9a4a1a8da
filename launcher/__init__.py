"""What runs inside a launcher Pod: one guest, its libvirt daemon, and its live migration."""
