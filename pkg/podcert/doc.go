// Package podcert gets certificates for pods from signers of the cluster (KEP-4317). It makes each key on this node, asks
// with a PodCertificateRequest, waits for the signer, keeps key and chain on disk beside the pod's tokens until the pod is
// gone, and renews them when the signer said so. It writes no file of a pod: package volumes asks for the certificates when
// it makes a projected volume and each minute from then on, which is also when they are renewed. It is told of no signer and
// checks no certificate: the API server has done so.
//
//	            ask                issued
//	nothing ----------> pending ----------> fresh --+
//	   ^                 |    ^                     | beginRefreshAt has come: ask again;
//	   +--- it is gone --+    +---------------------+ what there is is given until then
//	                     |
//	                     +-- denied, failed: for good
package podcert
