package browser

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tailLines is how much of a browser's stderr is kept for an error.
const tailLines = 30

// endPatience is how long a browser may take to close by itself.
const endPatience = 3 * time.Second

// process is a browser and its children, in a process group of their own.
type process struct {
	cmd     *exec.Cmd
	profile string // removed at the end
	exited  chan struct{}

	mu   sync.Mutex
	tail []string
	hits chan string // the first match of want
	want *regexp.Regexp
}

// find returns the path of the first of names, or an error that says which
// package to install.
func find(pkg string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is missing: apt-get install %s", strings.Join(names, " or "), pkg)
}

// startProcess runs a command in the named network namespace, if any. The
// first match of want in stderr is sent to hits.
func startProcess(netns, profile string, want *regexp.Regexp, extra []*os.File, name string, args ...string) (*process, error) {
	if netns != "" {
		args = append([]string{"netns", "exec", netns, name}, args...)
		name = "ip"
	}
	p := &process{profile: profile, exited: make(chan struct{}), hits: make(chan string, 1), want: want}
	p.cmd = exec.Command(name, args...)
	p.cmd.ExtraFiles = extra
	// Home is the profile: a browser writes to its home whatever its flags.
	p.cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile, "MOZ_CRASHREPORTER_DISABLE=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if netns == "" {
		// The signal comes when the thread that starts the browser ends; those
		// that enter a namespace do (dialIn). Whoever made the namespace kills
		// what is left in it.
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe stderr: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.exited)
		p.scan(stderr)
		_ = p.cmd.Wait() // killed, as a rule
	}()
	return p, nil
}

func (p *process) scan(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		p.mu.Lock()
		p.tail = append(p.tail, line)
		p.tail = p.tail[max(0, len(p.tail)-tailLines):]
		p.mu.Unlock()
		if p.want == nil {
			continue
		}
		if m := p.want.FindStringSubmatch(line); m != nil {
			select {
			case p.hits <- m[1]:
			default:
			}
		}
	}
}

func (p *process) lastWords() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}

// end waits a little for the browser to close, kills its process group,
// and removes the profile.
func (p *process) end() error {
	select {
	case <-p.exited:
	case <-time.After(endPatience):
	}
	// The group is killed in any case: helpers outlive a browser at times.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // gone already, as a rule
	<-p.exited
	// A helper that is dying may still write: try until it is gone.
	var err error
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for range 40 {
		if err = os.RemoveAll(p.profile); err == nil {
			return nil
		}
		<-ticker.C
	}
	return fmt.Errorf("remove profile: %w", err)
}
