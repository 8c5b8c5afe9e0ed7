// Package stats measures what the node and its pods use: memory from the cgroups, file systems by statfs, disk by walking
// what pods write, beside everything else. It decides nothing and keeps nothing but the last walk of each directory. Eviction
// calls it, and the server for /stats/summary.
package stats
