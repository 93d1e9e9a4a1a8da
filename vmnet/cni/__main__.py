"""`python -m vmnet.cni`: one call of a container runtime."""

from vmnet.cni.plugin import main

if __name__ == "__main__":
    raise SystemExit(main())
