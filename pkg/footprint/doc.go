// Package footprint gives memory back when the agent comes to rest: unused heap, and the pages of the program's code and
// tables that start-up or a burst of work touched and that nothing has asked for since. The kernel maps 64 KiB around each
// page of a program that is touched, and keeps it mapped while memory is free, so that an agent at rest would go on
// counting most of its binary as resident. Unmapped, those pages are plain page cache, the first to go when memory is
// short; what is used again comes back by a minor fault.
//
// It never decides by time alone: an agent that works is left in peace, and one that has done little since the last time
// has nothing to give. The command runs it beside the other parts.
package footprint
