// Package images brings images to the node and removes them. It pulls through CRI by the pull policy, one pull per image
// and credentials at a time however many containers wait for it (Puller), with the logins that package credentials finds
// and only for those whom package pulled does not send away. It imports OCI archives and the embedded pause image through
// containerd's own API, because CRI has no import (Importer, Preloader), and removes what nothing uses (Collector). It
// neither retries nor backs off: a failed pull is an error with a class, and when to try again is the plan's decision.
// Executors call the puller; the agent runs one preloader and one collector.
package images
