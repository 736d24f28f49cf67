// Package pionlog lets Pion log through log/slog.
package pionlog

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// New returns a factory whose loggers write to log, with Pion's scope as an
// attribute. What Pion calls an error or a warning is mostly a peer's doing
// and none of it needs an administrator: it is logged at debug level, and what
// matters is an event of ours.
func New(log *slog.Logger) logging.LoggerFactory { return factory{log} }

type factory struct{ log *slog.Logger }

func (f factory) NewLogger(scope string) logging.LeveledLogger {
	return logger{f.log.With("scope", "pion/"+scope)}
}

type logger struct{ log *slog.Logger }

func (l logger) put(severity, msg string) {
	l.log.LogAttrs(context.Background(), slog.LevelDebug, msg, slog.String("severity", severity))
}

func (l logger) putf(severity, format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.put(severity, fmt.Sprintf(format, args...))
	}
}

// Pion's traces are below our debug level and cost time: they are dropped.
func (l logger) Trace(string)          {}
func (l logger) Tracef(string, ...any) {}

func (l logger) Debug(string)          {}
func (l logger) Debugf(string, ...any) {}

func (l logger) Info(msg string)                   { l.put("info", msg) }
func (l logger) Infof(format string, args ...any)  { l.putf("info", format, args) }
func (l logger) Warn(msg string)                   { l.put("warn", msg) }
func (l logger) Warnf(format string, args ...any)  { l.putf("warn", format, args) }
func (l logger) Error(msg string)                  { l.put("error", msg) }
func (l logger) Errorf(format string, args ...any) { l.putf("error", format, args) }
