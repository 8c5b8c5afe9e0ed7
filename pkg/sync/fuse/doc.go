// Package fuse lets the agent kill itself at a moment that a test names: between any two steps of a pod's life, to see what
// survives. It is part of the product so that what is tested is what runs; without the variable it adds no code to any
// path. The command puts it around what the loops call.
package fuse
