// Package server answers what others ask of a node: the API server and monitoring over HTTPS (port 10250), health checks on
// loopback (10248), and the person at the node over a unix socket.
//
// It knows no other part of the agent: everything that it tells comes through the function types of Source. The HTTPS side
// authenticates by client certificate or bearer token and asks for authorization before each request; the socket is the
// root user's alone, and speaks Kubernetes' JSON (v1.PodList, v1.EventList, watch events). Streams (exec, attach, port
// forwarding) are handed to the URL that the runtime gave, by a reverse proxy that understands upgrades; no redirect is
// followed or sent.
package server
