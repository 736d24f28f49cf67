// Package journal gives every event its id and its place in the order, hands
// it on from memory, and keeps it in SQLite: the timeline of each call, the
// event feed, and the list of calls.
//
// The order of work in Emit is the point of the package: an event goes to
// sinks and subscribers first, and to the database when the database has
// time. A stalled or full disk loses entries of the journal, counted; it never
// delays a join, a webhook or media.
//
//	Emit ──► id, time ──┬──► sinks (webhook, metrics), called in place
//	                    ├──► subscribers, one bounded channel each
//	                    └──► pending ──► writer goroutine ──► SQLite
//	                            └──────► Events, Timeline, Calls (read before the disk)
//
// The package imports nothing of ours but leaves.
package journal
