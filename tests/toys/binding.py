"""A VM whose interface asks for a binding that no program has: each test gives it one of its own."""

VM = """
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm}
spec:
  template:
    spec:
      domain: {devices: {interfaces: [{name: default, toy: {}}]}}
      networks: [{name: default, pod: {}}]
"""
