package compose

import (
	"bytes"
	"strconv"
	"time"
)

// maxReportLine bounds a line of a report, in bytes.
const maxReportLine = 1 << 10

// reportReader reads what ffmpeg writes for -progress: lines KEY=VALUE.
type reportReader struct {
	total  time.Duration
	report func(float64)
	line   []byte
}

func (r *reportReader) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			r.take(r.line)
			r.line = r.line[:0]
		case len(r.line) < maxReportLine:
			r.line = append(r.line, c)
		}
	}
	return len(p), nil
}

// take reads a line. The time is that of what was written last; it is not a
// number before the first frame.
func (r *reportReader) take(line []byte) {
	value, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("out_time_us="))
	if !found || r.report == nil || r.total <= 0 {
		return
	}
	us, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || us < 0 {
		return
	}
	r.report(min(float64(us)/float64(r.total.Microseconds()), 1))
}
