// Package sync holds the heart of the agent in three packages, and no code of its own:
//
//	plan   pure: from one value, what a pod needs next
//	loop   one goroutine per pod: look, plan, start actions, sleep
//	act    the actions themselves
package sync
