package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prefix of the names of all namespaces of labs; the process's id follows.
const prefix = "netlab-"

// Namespace is the name of a network namespace of a lab.
type Namespace string

// Command returns a command that will run in the namespace, with the host
// names of the lab. What is left of it is killed when the namespace is removed.
// (Not by a death signal of the parent: that comes when the thread that started
// the command ends, and Do ends threads.)
func (n Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", string(n), name}, args...)...)
}

// Do calls f on a thread that is in the namespace: sockets that f itself makes
// belong there, and stay there when others use them. Goroutines that f starts
// are not in the namespace.
func (n Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and with it its
		// stay in the namespace.
		runtime.LockOSThread()
		done <- n.enter(f)
	}()
	return <-done
}

func (n Namespace) enter(f func() error) error {
	file, err := os.Open(filepath.Join("/run/netns", string(n)))
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", n, err)
	}
	return f()
}

// Dial dials an address, not a name, from within the namespace. It fits
// http.Transport.DialContext.
func (n Namespace) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var dialer net.Dialer
	err = n.Do(func() error {
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens within the namespace.
func (n Namespace) Listen(network, address string) (listener net.Listener, err error) {
	err = n.Do(func() error {
		listener, err = net.Listen(network, address)
		return err
	})
	return listener, err
}

// ListenPacket opens a UDP socket within the namespace.
func (n Namespace) ListenPacket(network, address string) (conn net.PacketConn, err error) {
	err = n.Do(func() error {
		conn, err = net.ListenPacket(network, address)
		return err
	})
	return conn, err
}

// add makes the namespace, with loopback.
func (n Namespace) add(ctx context.Context) error {
	if _, err := run(ctx, "ip", "netns", "add", string(n)); err != nil {
		return err
	}
	return n.ip(ctx, "link set lo up")
}

// ip runs an ip command in the namespace; words are separated by spaces.
func (n Namespace) ip(ctx context.Context, command string) error {
	_, err := run(ctx, "ip", append([]string{"-n", string(n)}, strings.Fields(command)...)...)
	return err
}

// sysctl sets kernel parameters in the namespace.
func (n Namespace) sysctl(ctx context.Context, settings ...string) error {
	_, err := output(n.Command(ctx, "sysctl", append([]string{"-qw"}, settings...)...))
	return err
}

// nft loads a ruleset into the namespace.
func (n Namespace) nft(ctx context.Context, rules string) error {
	cmd := n.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	_, err := output(cmd)
	return err
}

// etc is what `ip netns exec` puts over /etc in the namespace.
func (n Namespace) etc() string { return filepath.Join("/etc/netns", string(n)) }

// setHosts gives names to addresses within the namespace, and no other
// resolver.
func (n Namespace) setHosts(hosts string) error {
	if err := os.MkdirAll(n.etc(), 0o755); err != nil {
		return fmt.Errorf("make host names: %w", err)
	}
	for name, text := range map[string]string{
		"hosts":       "127.0.0.1 localhost\n::1 localhost\n" + hosts,
		"resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
	} {
		if err := os.WriteFile(filepath.Join(n.etc(), name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("make host names: %w", err)
		}
	}
	return nil
}

// remove kills what runs in the namespace and removes it.
func (n Namespace) remove() error {
	// Not with a caller's context: cleaning up is for the end of everything.
	ctx := context.Background()
	pids, err := run(ctx, "ip", "netns", "pids", string(n))
	for field := range strings.FieldsSeq(pids) {
		if pid, err := strconv.Atoi(field); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone already, perhaps
		}
	}
	_, errDel := run(ctx, "ip", "netns", "del", string(n))
	return errors.Join(err, errDel, os.RemoveAll(n.etc()))
}

// sweep removes the namespaces of labs whose process is gone.
func sweep(ctx context.Context) error {
	list, err := run(ctx, "ip", "netns", "list")
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(list) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, prefix)
		if !ours {
			continue
		}
		owner, _, _ := strings.Cut(rest, "-")
		if pid, err := strconv.Atoi(owner); err != nil || alive(pid) {
			continue
		}
		n := Namespace(name)
		if err := n.remove(); err != nil && n.exists() { // or another lab has removed it
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (n Namespace) exists() bool {
	_, err := os.Stat(filepath.Join("/run/netns", string(n)))
	return err == nil
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
