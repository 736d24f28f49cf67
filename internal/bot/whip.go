package bot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
	"consilium/signaling"
)

// maxAnswer bounds the body of an answer.
const maxAnswer = 1 << 20

// HTTPConfig opens a WHIP or WHEP session.
type HTTPConfig struct {
	Config
	Room string
	// Target is whose media a WHEP player wants.
	Target string
	// Screen asks WHEP for the screen first.
	Screen bool
	Client *http.Client // nil: one of its own, without kept connections
	// Servers are the TURN servers of Relay: WHIP has no welcome to name them.
	Servers []signaling.ICEServer
	// Direct, "udp" or "tcp", leaves only the candidates of that protocol in
	// the answer: one path, and no other.
	Direct string
}

// HTTPSession is a WHIP publisher or a WHEP player. Its methods may be called
// from any goroutine, Delete or Vanish once.
type HTTPSession struct {
	cfg      HTTPConfig
	client   *http.Client
	peer     *peer
	location string

	// Status, ETag and Links are of the answer to the POST.
	Status int
	ETag   string
	Links  []string
}

// StatusError is an answer of the server that was not the expected one.
type StatusError struct {
	Method string
	Status int
	Body   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d: %s", e.Method, e.Status, strings.TrimSpace(e.Body))
}

// WHIP publishes to a room (RFC 9725).
func WHIP(ctx context.Context, cfg HTTPConfig) (*HTTPSession, error) {
	s, err := newHTTPSession(cfg)
	if err != nil {
		return nil, fmt.Errorf("WHIP: %w", err)
	}
	for _, source := range cfg.sources() {
		clip, err := (&Bot{cfg: cfg.Config}).clip(source)
		if err == nil {
			err = s.peer.addSender(source, clip, s.cfg.Config)
		}
		if err != nil {
			s.peer.close()
			return nil, fmt.Errorf("WHIP: %w", err)
		}
	}
	return s.post(ctx, "/whip/"+url.PathEscape(cfg.Room))
}

// WHEP plays what a participant publishes.
func WHEP(ctx context.Context, cfg HTTPConfig) (*HTTPSession, error) {
	s, err := newHTTPSession(cfg)
	if err != nil {
		return nil, fmt.Errorf("WHEP: %w", err)
	}
	if err := s.peer.addSeats(1, 0); err != nil {
		s.peer.close()
		return nil, fmt.Errorf("WHEP: %w", err)
	}
	path := "/whep/" + url.PathEscape(cfg.Room) + "/" + url.PathEscape(cfg.Target)
	if cfg.Screen {
		path += "?source=screen"
	}
	return s.post(ctx, path)
}

func (c HTTPConfig) sources() []media.Source {
	if c.Publish == nil {
		return []media.Source{media.Microphone, media.Camera}
	}
	return c.Publish
}

func newHTTPSession(cfg HTTPConfig) (*HTTPSession, error) {
	s := &HTTPSession{cfg: cfg, client: cfg.Client}
	if s.client == nil {
		s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: cfg.TLS}}
	}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	s.peer, err = newPeer(s.cfg.Config, cfg.Servers, nil)
	return s, err
}

func (s *HTTPSession) post(ctx context.Context, path string) (*HTTPSession, error) {
	if err := s.negotiate(ctx, s.cfg.URL+path); err != nil {
		if s.location != "" {
			_ = s.Delete(ctx) // the server has a session that nobody will use
		}
		s.peer.close()
		return nil, err
	}
	return s, nil
}

func (s *HTTPSession) negotiate(ctx context.Context, target string) error {
	offer, err := s.peer.offer(false)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/sdp"}}
	response, body, err := s.do(ctx, http.MethodPost, target, header, offer.SDP)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return &StatusError{http.MethodPost, response.StatusCode, body}
	}
	s.Status, s.ETag, s.Links = response.StatusCode, response.Header.Get("ETag"), response.Header.Values("Link")
	base, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("parse URL: %w", err)
	}
	location, err := base.Parse(response.Header.Get("Location"))
	if err != nil || response.Header.Get("Location") == "" {
		return errors.Join(errors.New("answer has no usable Location"), err)
	}
	s.location = location.String()
	if s.cfg.Direct != "" {
		if body = onlyProtocol(body, s.cfg.Direct); !strings.Contains(body, "a=candidate:") {
			return ErrNoCandidate
		}
	}
	return s.peer.answer(body)
}

// ErrNoCandidate says that the server offers nothing for HTTPConfig.Direct.
var ErrNoCandidate = errors.New("the answer has no candidate of that protocol")

// onlyProtocol leaves the candidates of one protocol in an SDP (RFC 8839,
// section 5.1).
func onlyProtocol(sdp, protocol string) string {
	var out strings.Builder
	for line := range strings.Lines(sdp) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") &&
			(len(fields) < 3 || !strings.EqualFold(fields[2], protocol)) {
			continue
		}
		out.WriteString(line)
	}
	return out.String()
}

// Patch sends a fragment of SDP (RFC 8840) with an If-Match header, unless
// that is empty, and returns the answer's status.
func (s *HTTPSession) Patch(ctx context.Context, fragment, ifMatch string) (int, error) {
	header := http.Header{"Content-Type": {"application/trickle-ice-sdpfrag"}}
	if ifMatch != "" {
		header.Set("If-Match", ifMatch)
	}
	response, _, err := s.do(ctx, http.MethodPatch, s.location, header, fragment)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, nil
}

// Fragment returns a trickle fragment of the session's own, with one candidate.
func (s *HTTPSession) Fragment() string {
	var out strings.Builder
	for line := range strings.Lines(s.peer.pc.LocalDescription().SDP) {
		if strings.HasPrefix(line, "a=ice-ufrag:") || strings.HasPrefix(line, "a=ice-pwd:") {
			out.WriteString(line)
		}
		if strings.HasPrefix(line, "a=ice-pwd:") {
			break
		}
	}
	out.WriteString("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n")
	out.WriteString("a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host\r\n")
	return out.String()
}

// Delete ends the session and waits for everything it started.
func (s *HTTPSession) Delete(ctx context.Context) error {
	defer s.peer.close()
	s.peer.gate.shut() // it is the request that ends the session, not DTLS
	response, body, err := s.do(ctx, http.MethodDelete, s.location, http.Header{}, "")
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return &StatusError{http.MethodDelete, response.StatusCode, body}
	}
	return nil
}

// Close ends the session as a device does that knows only DTLS: by its
// close_notify.
func (s *HTTPSession) Close() { s.peer.close() }

// Vanish ends the session without a word.
func (s *HTTPSession) Vanish() {
	s.peer.gate.shut()
	s.peer.close()
}

// Snapshot returns the connection and the counts; what belongs to the
// WebSocket protocol is empty. Tracks of a player have no id, only a mid.
func (s *HTTPSession) Snapshot() Snapshot {
	var out Snapshot
	s.peer.describe(&out)
	return out
}

// Wait returns when cond holds.
func (s *HTTPSession) Wait(ctx context.Context, what string, cond func(*Snapshot) bool) error {
	return wait(ctx, what, s.Snapshot, nil, cond)
}

// WaitConnected returns when media is connected.
func (s *HTTPSession) WaitConnected(ctx context.Context) error {
	return s.Wait(ctx, "connection", func(s *Snapshot) bool { return s.Connection == webrtc.PeerConnectionStateConnected })
}

// ICEConnected reports whether ICE has found a path, be DTLS done or not.
func (s *HTTPSession) ICEConnected() bool {
	state := s.peer.pc.ICEConnectionState()
	return state == webrtc.ICEConnectionStateConnected || state == webrtc.ICEConnectionStateCompleted
}

func (s *HTTPSession) do(ctx context.Context, method, target string, header http.Header, body string) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewBufferString(body))
	if err != nil {
		return nil, "", fmt.Errorf("make request: %w", err)
	}
	request.Header = header
	request.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	response, err := s.client.Do(request)
	if err != nil {
		return nil, "", fmt.Errorf("%s %s: %w", method, request.URL.Path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, "", fmt.Errorf("read answer to %s: %w", method, err)
	}
	return response, string(answer), nil
}
