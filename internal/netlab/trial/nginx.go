package trial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"consilium/internal/netlab"
)

// streamModule is where Debian and Ubuntu put nginx's stream module.
const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// nginx is the real one, in the server's namespace, with the configuration that
// docs/how-to/nginx.md gives to administrators.
type nginx struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	log    string        // file
}

// startNginx runs nginx as the profile's front and returns when it listens.
func startNginx(ctx context.Context, l *netlab.Lab, guide, dir string, c *certificate) (*nginx, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		return nil, errors.New("nginx is missing: apt-get install nginx-light libnginx-mod-stream")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find directory: %w", err)
	}
	text, err := nginxConfig(l.Profile.Front, guide, dir, c)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration of nginx: %w", err)
	}
	n := &nginx{log: filepath.Join(dir, "nginx.log"), exited: make(chan struct{})}
	n.cmd = l.Server.Command(context.Background(), program, "-e", n.log, "-p", dir, "-c", config)
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	go func() {
		defer close(n.exited)
		_ = n.cmd.Wait() // its log says why
	}()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	err = poll(ctx, lookPeriod, func() (bool, error) {
		select {
		case <-n.exited:
			return false, errors.New("it ended")
		default:
		}
		conn, err := l.Server.Dial(ctx, "tcp", netlab.ServerIPv4+":443")
		if err != nil {
			return false, nil // not yet
		}
		return true, conn.Close()
	})
	if err != nil {
		said, _ := os.ReadFile(n.log) // may not be there
		return nil, errors.Join(fmt.Errorf("start nginx: %w: %s", err, said), n.close())
	}
	return n, nil
}

// nginxConfig puts the guide's configuration for a front into one that runs
// in the lab: as root, with its files in dir.
func nginxConfig(front netlab.Front, guide, dir string, c *certificate) (string, error) {
	mark := map[netlab.Front]string{netlab.FrontStream: "stream.conf", netlab.FrontHTTP: "consilium.conf"}[front]
	part, err := codeBlock(guide, mark)
	if err != nil {
		return "", err
	}
	part = strings.NewReplacer(
		"video.hospital.example", netlab.Host,
		"/etc/ssl/video.crt", c.chain,
		"/etc/ssl/private/video.key", c.key,
	).Replace(part)
	if front == netlab.FrontHTTP {
		paths := ""
		for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			paths += fmt.Sprintf("%s_temp_path %s;\n", name, filepath.Join(dir, "nginx-"+name))
		}
		part = "http {\naccess_log off;\n" + paths + part + "}\n"
	} else if _, err := os.Stat(streamModule); !errors.Is(err, fs.ErrNotExist) {
		part = "load_module " + streamModule + ";\n" + part
	}
	return fmt.Sprintf("daemon off;\nuser root;\npid %s;\n%sevents {}\n", filepath.Join(dir, "nginx.pid"), part), nil
}

// codeBlock returns the code block of a Markdown file whose first line is a
// comment with a name.
func codeBlock(file, name string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read guide: %w", err)
	}
	_, rest, found := strings.Cut(string(text), "```nginx\n# "+name+"\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		return "", fmt.Errorf("%s has no code block %q", file, name)
	}
	return block, nil
}

// close stops nginx as `nginx -s stop` does, and waits for it.
func (n *nginx) close() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop nginx: %w", err)
	}
	select {
	case <-n.exited:
		return nil
	case <-time.After(stopPatience):
		_ = n.cmd.Process.Kill() // the error to report is the one below
		<-n.exited
		return errors.New("nginx does not stop")
	}
}
