//go:build multus

// Never built: it has go.mod and go.sum name Multus, which is a program of its own.
package main

import _ "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"
