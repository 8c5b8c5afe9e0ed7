// Package writer is the only writer of pod status at the API server. It keeps the latest status per pod, sends the
// smallest patch that brings the API server up to it, at most one request per pod at a time and several pods at once, and
// puts a failed send back with a back-off: what arrives is never older than what was there. Once a pod that is being
// deleted has finished on the node, its terminal status is written and the object is deleted with grace period 0.
//
// For static pods it keeps the mirror pod: created with the hash of the static pod, made again when it was deleted or no
// longer fits, deleted when the static pod has finished; their status goes to the mirror.
//
// It never computes a status and never changes what others own: their conditions, the QoS class, claim statuses. The pod
// loops report to it. Without an API client it does nothing.
package writer
