package server

import (
	"consilium/internal/config"
	"consilium/internal/metrics"
	"consilium/recorder"
)

// spaceMarks translates the marks of the configuration.
func spaceMarks(c config.Recording) recorder.Marks {
	mark := func(s config.Space) recorder.Mark {
		return recorder.Mark{Bytes: uint64(s.Bytes), Percent: s.Percent}
	}
	ballast := uint64(c.Ballast.Bytes)
	if c.Ballast.Percent > 0 {
		ballast = 1 << 62 // a share: as much as the recorder allows
	}
	return recorder.Marks{
		Low: mark(c.LowSpace), Hard: mark(c.MinFree), Critical: mark(c.Critical), Ballast: ballast,
	}
}

// registerSpace registers what is known of the disk of the recordings.
func registerSpace(r *metrics.Registry, rec *recorder.Recorder) {
	r.GaugeFunc("consilium_recording_space_free_bytes", "Free space for recordings, without the ballast.",
		func() float64 { return float64(rec.Space().Free) })
	r.GaugeFunc("consilium_recording_space_level",
		"How short of space the disk of the recordings is: 0 ok, 1 low, 2 no new calls, 3 sound only, 4 full.",
		func() float64 { return float64(rec.Space().Level) })
	r.GaugeFunc("consilium_recording_disk_failed", "1 while the disk of the recordings fails or does not answer.",
		func() float64 {
			if s := rec.Space(); s.Err != nil || s.Stalled {
				return 1
			}
			return 0
		})
}
