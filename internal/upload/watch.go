package upload

import (
	"context"
	"time"

	"consilium/internal/event"
	"consilium/internal/metrics"
)

const watchInterval = 15 * time.Second

// instruments are the metrics.
type instruments struct {
	sentBytes   *metrics.Counter
	failures    *metrics.CounterVec
	lastSuccess *metrics.Gauge
}

func newInstruments(u *Uploader, r *metrics.Registry) instruments {
	reasons := make([]string, 0, len(Reasons()))
	for _, reason := range Reasons() {
		reasons = append(reasons, string(reason))
	}
	r.GaugeFunc("consilium_upload_pending_recordings", "Recordings whose copy in the store is not complete.",
		func() float64 { n, _, _ := u.backlog(); return float64(n) })
	r.GaugeFunc("consilium_upload_pending_bytes", "Bytes of recordings that are not in the store, or not read back yet.",
		func() float64 { _, bytes, _ := u.backlog(); return float64(bytes) })
	r.GaugeFunc("consilium_upload_oldest_seconds", "How long the oldest recording has waited for its copy to be complete; 0: none waits.",
		func() float64 { _, _, age := u.backlog(); return age.Seconds() })
	return instruments{
		sentBytes: r.Counter("consilium_upload_bytes_total", "Bytes of recordings that the store took."),
		failures: r.CounterVec("consilium_upload_failures_total", "Failures of uploading, reading back and removing, by reason.",
			metrics.Label{Name: "reason", Values: reasons}),
		lastSuccess: r.Gauge("consilium_upload_last_success_timestamp_seconds", "When a copy was last found complete, in seconds since 1970."),
	}
}

// backlog returns how many recordings wait, how large they are, and how long
// the oldest has waited.
func (u *Uploader) backlog() (recordings int, bytes int64, oldest time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range u.waiting {
		bytes += w.bytes
		oldest = max(oldest, time.Since(w.since))
	}
	return len(u.waiting), bytes, oldest
}

// watch raises the alarm when recordings wait too long, and ends it, until ctx
// ends.
func (u *Uploader) watch(ctx context.Context) {
	tick := time.NewTicker(min(watchInterval, u.config.LateAfter/2))
	defer tick.Stop()
	for late := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n, bytes, oldest := u.backlog()
		if now := oldest > u.config.LateAfter; now != late {
			late = now
			u.tell(late, n, bytes, oldest)
		}
	}
}

func (u *Uploader) tell(late bool, recordings int, bytes int64, oldest time.Duration) {
	u.mu.Lock()
	reason := u.reason
	u.mu.Unlock()
	e := event.Event{Type: event.RecordingUpload, Time: time.Now(), Data: map[string]any{
		"state": "in_time", "recordings": recordings, "bytes": bytes,
	}}
	if !late {
		u.log.Info("recordings are uploaded in time again")
		u.config.Events.Emit(e)
		return
	}
	e.Code = event.RecorderFailed
	e.Data["state"], e.Data["oldest_s"], e.Data["reason"] = "late", int64(oldest.Seconds()), string(reason)
	u.log.Error("recordings wait too long for their upload", "recordings", recordings, "bytes", bytes,
		"oldest", oldest.Round(time.Second).String(), "reason", reason)
	u.config.Events.Emit(e)
}
