package signaling

import "sync/atomic"

// counters count what happened, for Stats.
type counters struct {
	joins, resumes, snapshots, rejoins atomic.Uint64
	refused, slow, floods, notices     atomic.Uint64
	untold                             atomic.Uint64
}

func (c *counters) read() Stats {
	return Stats{
		Joins:          c.joins.Load(),
		Resumes:        c.resumes.Load(),
		Snapshots:      c.snapshots.Load(),
		Rejoins:        c.rejoins.Load(),
		Refused:        c.refused.Load(),
		SlowSockets:    c.slow.Load(),
		Floods:         c.floods.Load(),
		NoticesDropped: c.notices.Load(),
		RefusalsUntold: c.untold.Load(),
	}
}
