// Package audit keeps the log of who did what to recordings: every arming,
// failure, playback, download, export, deletion, hold and verification, and
// every access that was refused. It is a file of its own, because it can't be
// made again from anything and must outlive what it tells of.
//
// Rows are only ever added: triggers refuse UPDATE and DELETE, and each row has
// the hash of the one before it, so that a row changed or taken out behind
// SQLite's back is found by Verify. Rows cut off at the end are found by who
// noted the last hash: the feed GET /v1/audit hands it out with every row.
//
// Two ways lead in:
//
//	Append, View ──► requests ──► Run ──► SQLite     waits; an error refuses the playback
//	Emit, Refuse ──► backlog  ──► Run ──► SQLite     never waits; recording goes on
//
// The server and the commands write the same file; a transaction of SQLite
// keeps their rows in one chain.
//
// The package imports nothing of ours but leaves.
package audit
