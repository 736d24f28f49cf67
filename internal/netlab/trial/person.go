package trial

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"consilium/internal/netlab"
)

// answerPatience is how long an agent or a page may take to say its status.
const answerPatience = 10 * time.Second

// person is one end of a call.
type person interface {
	status(ctx context.Context) (Status, error)
	// networkChanged is what the operating system does when the network has
	// changed; browsers notice by themselves.
	networkChanged() error
	// quiet stops sending media without a word, or sends again.
	quiet(ctx context.Context, on bool) error
	leave(ctx context.Context) error
}

// robot is a person played by an agent process.
type robot struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	errors *strings.Builder
	ended  bool
}

// startRobot lets an agent join from a namespace. It trusts the authority whose
// PEM file is trust.
func startRobot(n netlab.Namespace, program, trust string, cfg agentConfig) (*robot, error) {
	cmd := n.Command(context.Background(), program, "agent")
	// The environment's proxies and certificates are not the lab's.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SSL_CERT_FILE=" + trust, "SSL_CERT_DIR=/nonexistent"}
	r := &robot{cmd: cmd, errors: &strings.Builder{}}
	cmd.Stderr = r.errors
	var err error
	if r.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	r.out = json.NewDecoder(bufio.NewReader(out))
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	line, err := json.Marshal(cfg)
	if err == nil {
		_, err = r.in.Write(append(line, '\n'))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("configure agent: %w", err), r.leave(context.Background()))
	}
	return r, nil
}

func (r *robot) say(command string) error {
	if _, err := io.WriteString(r.in, command+"\n"); err != nil {
		return r.broken(err)
	}
	return nil
}

func (r *robot) status(context.Context) (s Status, err error) {
	if err := r.say(askStatus); err != nil {
		return s, err
	}
	if err := r.out.Decode(&s); err != nil {
		return s, r.broken(err)
	}
	return s, nil
}

// broken says why an agent is gone.
func (r *robot) broken(err error) error {
	return errors.Join(fmt.Errorf("agent is gone: %w", err), r.wait())
}

func (r *robot) networkChanged() error { return r.say(netChanged) }

func (r *robot) quiet(_ context.Context, on bool) error {
	if on {
		return r.say(sendNothing)
	}
	return r.say(sendAgain)
}

func (r *robot) leave(context.Context) error {
	if r.ended {
		return nil
	}
	_, _ = io.WriteString(r.in, leaveCall+"\n") // it may have ended
	return r.wait()
}

// wait ends the agent's input, which ends the agent, and waits for it.
func (r *robot) wait() error {
	if r.ended {
		return nil
	}
	r.ended = true
	_ = r.in.Close() // an agent that is gone has closed it
	timer := time.AfterFunc(answerPatience, func() { _ = r.cmd.Process.Kill() })
	defer timer.Stop()
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("agent: %w: %s", err, r.errors)
	}
	return nil
}
