// Package compare holds the agent against the kubelet: the same pods, on the same components, and everything that others can
// see of them. Both run behind a proxy that records what they ask of the runtime.
//
// A case (cases/*.yaml) is one pod and the objects that it names. Its record is a sorted set of lines "what = value": every
// request to the runtime, the OCI runtime spec, the values of cgroups, the files in volumes as the containers find them, the
// status of the pod on its way and at its end, its events. Ids, addresses, times, and names of this machine are replaced.
// What comes in a free order has no order in a record.
//
// A case may have steps (story.go): what happens to its pod over time, and what there is to see then. Its lines begin with "step
// N". One that disturbs the node is apart: its group runs when all other cases are over, and does each disturbance together.
//
// A view (cases/node.yaml, view.go) is of the node itself, on which the pods of views.yaml run: its objects at the API server, what
// its ports answer, its logs, its metrics. Its record is whole, others are written down as a change of the case base. Fields of a
// configuration are compared without a node, in config_test.go.
//
//	recorded/*.txt         the kubelet's records; `make compare RECORD=1` runs a kubelet and writes them anew
//	differences.yaml       the differences that are meant, each with its reason; docs/differences.md is made from it
//	exact.txt              the lines that the entries marked exact explain; RECORD=1 writes them anew
//
// `go test ./test/compare` (part of make test) runs the agent and compares it with the kubelet's records. A difference that
// is not listed fails, and so does a listed one that is none any more. `make compare` runs a kubelet too and compares with what
// it does now.
//
// The decisions (records, lines, differences) are functions of values; observe.go, node.go, play.go and act.go alone touch the machine.
package compare
