// Package content makes the files of the volumes that objects fill: configMap, secret, downwardAPI and projected. It asks
// for the objects, picks keys, sets modes, and keeps service account tokens until they are due for renewal. It neither
// writes nor mounts: package volumes, its only caller, does that with what Files returns, when a volume is set up and
// each time that its objects may have changed.
package content
