package sfu

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"consilium/internal/event"
)

func TestARefusalHasAStatusAndACodeHoweverItIsWrapped(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"SDP":               {fmt.Errorf("line 3: %w", ErrNotSDP), http.StatusBadRequest, "not_sdp"},
		"full":              {fmt.Errorf("join: %w", ErrBusy), http.StatusServiceUnavailable, string(event.ServerBusy)},
		"time ran out":      {fmt.Errorf("join: %w", context.DeadlineExceeded), http.StatusServiceUnavailable, string(event.ServerBusy)},
		"no recording":      {ErrRecording, http.StatusServiceUnavailable, string(event.RecorderFailed)},
		"recorder says why": {&CodedError{event.DiskFull, fmt.Errorf("%w: 3 MiB free", ErrRecording)}, http.StatusServiceUnavailable, string(event.DiskFull)},
	} {
		if status, code, ok := Refusal(test.err); !ok || status != test.status || code != test.code {
			t.Errorf("%s: %d %s %v, want %d %s", name, status, code, ok, test.status, test.code)
		}
	}
	if status, code, ok := Refusal(errors.New("/var/lib/secret: no such file")); ok {
		t.Errorf("an unforeseen error is %d %s to a client", status, code)
	}
}
