package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// firstPipe is the first descriptor after standard error.
const firstPipe = 3

// killWait is how long the pipes of a killed process are waited for.
const killWait = 5 * time.Second

// Priorities: calls come first. ioprio_set(2): class "idle" gets the disk when
// nobody else wants it.
const (
	lowestNice    = 19
	ioprioProcess = 1
	ioprioIdle    = 3 << 13
)

// process is one run of ffmpeg.
type process struct {
	program  string
	args     []string
	inputs   []Input
	total    time.Duration
	progress func(float64)

	words tail // standard error
}

// run starts ffmpeg, feeds it and waits until it, and every goroutine, ended.
func (p *process) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	readers, writers, err := pipes(len(p.inputs))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, p.program, p.args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH"), "LANG=C"}
	cmd.ExtraFiles, cmd.Stderr = readers, &p.words
	// A group of its own: what it starts dies with it. It dies with us, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killWait
	reports := &reportReader{total: p.total, report: p.progress}
	cmd.Stdout = reports

	started := make(chan error, 1)
	ended := make(chan error, 1)
	go func() {
		// A child has the priority of the thread that makes it. The thread is
		// never unlocked, so it ends with this goroutine and no other gets it;
		// it lives as long as the child, which is to die when it ends.
		runtime.LockOSThread()
		lowerPriority()
		err := cmd.Start()
		closeAll(readers)
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		closeAll(writers)
		return fmt.Errorf("start: %w", err)
	}
	var feeds sync.WaitGroup
	for i, in := range p.inputs {
		feeds.Go(func() {
			err := in.Write(ctx, writers[i])
			_ = writers[i].Close() // a pipe holds nothing back
			if err != nil && !errors.Is(err, syscall.EPIPE) {
				cancel(fmt.Errorf("input %d: %w", i, err)) // else ffmpeg would take it for the end
			}
		})
	}
	err = <-ended
	feeds.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// explain puts a failure in words for whoever asked.
func (p *process) explain(err error) error {
	if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		return err
	}
	switch words := p.words.String(); {
	case strings.Contains(words, "Unknown encoder"):
		return ErrNoEncoder
	case strings.Contains(words, "No space left on device"):
		return ErrNoSpace
	}
	return ErrFailed
}

// lowerPriority makes the calling thread, and what it starts, come last. What
// the system refuses is left as it is: the work is right all the same.
func lowerPriority() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, lowestNice)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioProcess, 0, ioprioIdle)
}

func pipes(n int) (readers, writers []*os.File, err error) {
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(readers)
			closeAll(writers)
			return nil, nil, fmt.Errorf("make pipe: %w", err)
		}
		readers, writers = append(readers, r), append(writers, w)
	}
	return readers, writers, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// tailSize is how much of standard error is kept, in bytes.
const tailSize = 2 << 10

// tail keeps the end of what is written to it. It is read when the writer is
// done.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.text)) }
