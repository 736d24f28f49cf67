package turn

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/pion/logging"
	"golang.org/x/time/rate"
)

// loggerFactory gives Pion loggers that write to slog. What Pion calls an error
// is mostly what a stranger sent, so it is a sampled line at debug level; what
// matters to an operator is logged and counted by this package.
type loggerFactory struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f loggerFactory) NewLogger(scope string) logging.LeveledLogger {
	return &pionLogger{log: f.log.With("scope", scope), some: rate.Sometimes{First: 10, Interval: time.Second}}
}

type pionLogger struct {
	log  *slog.Logger
	some rate.Sometimes
}

func (l *pionLogger) line(msg string) { l.some.Do(func() { l.log.Debug(msg) }) }

func (l *pionLogger) Trace(string)          {}
func (l *pionLogger) Tracef(string, ...any) {}
func (l *pionLogger) Debug(string)          {}
func (l *pionLogger) Debugf(string, ...any) {}
func (l *pionLogger) Info(msg string)       { l.line(msg) }
func (l *pionLogger) Warn(msg string)       { l.line(msg) }
func (l *pionLogger) Error(msg string)      { l.line(msg) }

func (l *pionLogger) Infof(format string, args ...any)  { l.line(fmt.Sprintf(format, args...)) }
func (l *pionLogger) Warnf(format string, args ...any)  { l.line(fmt.Sprintf(format, args...)) }
func (l *pionLogger) Errorf(format string, args ...any) { l.line(fmt.Sprintf(format, args...)) }
