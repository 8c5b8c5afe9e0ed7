// Package pulled remembers with whose credentials each image came to the node, so that a pod without them is not given
// another's private image because it happens to be present (KEP-2535, KubeletEnsureSecretPulledImages). What is
// remembered is in the kubelet's own files, and survives the agent:
//
//	image_manager/pulling/sha256-<of the image's name>   written before a pull, removed after it
//	image_manager/pulled/sha256-<of the image's ID>      who may use it, by the image's name without its tag
//
// An intent that is found at the start means that the agent was killed during a pull: if the image is there, it counts as
// pulled with credentials that nobody knows. The package holds hashes of credentials and never credentials. It does not
// pull. Package images calls it around each pull, and the collection of unused images when it has removed some.
package pulled
