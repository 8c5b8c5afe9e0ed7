// Package status builds the status of a pod: one pure function from what the plan saw and decided, and from what was
// reported before, to a v1.PodStatus as API servers, kubectl and controllers read it. It does no I/O and knows no clock but
// the input's own, and it never takes anything back: a terminal phase stays, a restart count never falls, a condition
// keeps its transition time until it flips, and conditions and addresses of others are preserved.
//
// A pod's loop calls Build after every plan and records the result; package writer sends it upstream.
package status
