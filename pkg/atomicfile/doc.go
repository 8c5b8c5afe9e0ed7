// Package atomicfile replaces files so that whoever reads one, also after a crash of the agent in the middle, finds the old
// content or the new one and never a part: the content goes to a file beside the place, which is then renamed into it. A
// write that fails, on a full disk say, leaves the old file and nothing beside it. A writer that is killed may leave its
// file beside the place, which Sweep removes: the owner of a directory calls it when it opens the directory.
//
// Every package that keeps a file of its own for the agent writes it with this one; JSON that the agent reads back goes
// through pkg/book, and directories that containers see, which are swapped as a whole, are pkg/csi/hostfs's.
package atomicfile
