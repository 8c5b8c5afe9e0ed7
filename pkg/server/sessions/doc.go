// Package sessions is what the container runtime does for those who use the node's API: commands, streams, checkpoints and
// the logs of a container's runs. It decides which run a request means; pkg/server decides who may ask.
package sessions
