// Package manifest reads manifests that people write: it decodes them strictly, applies Kubernetes' defaults, holds
// them to package rules, and gives static pods their identity. It is pure: bytes in,
// objects and problems out, each problem with its document, line and field. It knows no files and no clock. The file and
// URL sources and the validate command call it.
package manifest
