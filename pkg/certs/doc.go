// Package certs keeps the node's own certificates: the client certificate that it shows to the API server, which a
// bootstrap token gets it (KEP-43) and which is renewed before it expires, and the serving certificate of its HTTPS API,
// from files, from the cluster's signer, or signed by the agent itself.
//
// A certificate and its key are one PEM file of their own; a link in the same directory names the current one and is
// replaced atomically, so that a reader, or an agent that was killed, never sees half of a change. A key that a signing
// request was made with is kept until the answer came: after a crash the same request is found again.
//
// It never decides who may have which certificate: the cluster's approvers do. Users are the wiring of the agent, which
// hands the results to package kube and package server.
package certs
