package pod

import "time"

// Longest is the longest time that a number of seconds in an API object stands for. A Duration ends at 292 years: two of
// the longest can be added, and the end of one that begins now still has a Unix time in nanoseconds.
const Longest = 100 * 365 * 24 * time.Hour

// Seconds makes a duration of a number of seconds that a user chose. What is longer than Longest is Longest, in either
// direction: the product would overflow, and a grace period of 317 years would be over before it began.
func Seconds(n int64) time.Duration {
	const most = int64(Longest / time.Second)
	return time.Duration(max(-most, min(n, most))) * time.Second
}
