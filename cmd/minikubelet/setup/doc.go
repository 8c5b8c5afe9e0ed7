// Package setup makes the agent a service of this machine and undoes that: a copy of the program, a systemd unit, a
// configuration with every field in it, and the directories that they name. It keeps the checksum of each file that it
// wrote in /etc/minikubelet/.installed.json. A file that is not as it was written is a person's: it is neither replaced nor
// removed, and the person is told so. Doing either twice is doing it once. The install and uninstall commands call it.
package setup
