//go:build tools

// Package peers names the reference plugins that `make test-peers` builds, so that go.mod and go.sum pin
// them with all that they need.
package peers

import (
	_ "github.com/containernetworking/plugins/plugins/ipam/host-local"
	_ "github.com/containernetworking/plugins/plugins/main/bridge"
)
