// Package deploy holds the files that make the agent a service, as minikubelet install writes them and as packages may
// ship them. In config.yaml every field stands with its default: a line that begins with # and no single space is a
// field, any other comment tells what the fields below it mean.
package deploy

import _ "embed" // the files below

// Unit is the systemd unit.
//
//go:embed minikubelet.service
var Unit string

// Config is the configuration.
//
//go:embed config.yaml
var Config string
