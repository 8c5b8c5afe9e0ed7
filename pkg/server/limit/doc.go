// Package limit bounds what requests cost, whoever makes them: how many connections are open (Gate), how much of a body is
// read and for how long (Body), how many answers are made at once (Turns) and how long a stream may be silent (Idle). Package
// server, its only user, puts them around its handlers. It knows nothing of what is asked or answered.
package limit
