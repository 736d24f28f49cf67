// Package webhook tells the medical information system what happens, as
// Standard Webhooks 1.0 wants it: one signed POST for each event.
//
// The first attempt of an event is made at once. Events of one call go out one
// after the other, so that a receiver that answers sees them in order; events
// of different calls do not wait for each other. An event whose attempt fails
// leaves the line and is tried again later, by itself: it never holds back the
// next one. A receiver that keeps us waiting loses the order, not the
// promptness: after a second the next event of the call goes out beside it.
//
//	Emit ──► incoming ──► Run: one line a call ──► at most 16 attempts at a time
//	                       ▲                             │ failed
//	                       └──── retries, by due time ◄──┘
//
// What waits is in memory and bounded; an event that finds no place, or is
// given up, is counted with the reason, and the receiver finds it in the feed
// (GET /v1/events).
//
// The package imports nothing of ours but leaves.
package webhook
