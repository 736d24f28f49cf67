package problem

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bounds of what is read of a body only to answer after it: a client that is
// still sending when the connection closes never reads the answer.
const (
	drainBytes = 4 << 20
	drainTime  = 2 * time.Second
)

// ReadBody reads the whole body of a request. One of more than limit bytes is
// 413, one that breaks off 400 with the given code.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int, brokenOff string) ([]byte, *Problem) {
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return nil, New(http.StatusBadRequest, brokenOff, "the body could not be read to its end")
	}
	if len(body) > limit {
		// A writer that can set no deadline is a test's; the bytes are bounded
		// all the same.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime))
		_, _ = io.CopyN(io.Discard, r.Body, drainBytes)
		return nil, New(http.StatusRequestEntityTooLarge, TooLarge, fmt.Sprintf("the body may have %d bytes", limit))
	}
	return body, nil
}
