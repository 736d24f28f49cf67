package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/signaling"
)

// clockLimit is by how much this machine's clock may be wrong: tokens are made
// elsewhere, and certificates have a begin.
const clockLimit = auth.Leeway

// signal asks what the token is worth, opens a room of its own and the socket
// in it, and tries the ways for media while that is open: the relay's
// credentials end with it.
func (p *prober) signal(ctx context.Context) {
	p.token(ctx)
	room, ok := p.openRoom(ctx)
	if !ok {
		return
	}
	socket, err := p.openSocket(ctx, room)
	if err != nil {
		p.paths(ctx, room, p.credentials(ctx, room), nil)
		return
	}
	// What the server says while media is tried is read, so that its pings are
	// answered, and not needed.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, _, err := socket.conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	p.paths(ctx, room, socket.servers, socket)
	_ = socket.conn.Close() // the room goes with it
	<-ended
}

// token lets the server judge the token as a join would, without joining.
func (p *prober) token(ctx context.Context) {
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	response, body, err := p.ask(ctx, http.MethodGet, "/v1/turn", p.cfg.Token, nil)
	switch {
	case err != nil:
		p.fail(CheckToken, begun, event.SignalLost, "no answer by HTTP: "+cause(err))
	case response.StatusCode == http.StatusOK || response.StatusCode == http.StatusNotFound: // without TURN
		p.ok(CheckToken, begun, "the server takes the token")
	default:
		code, words := refusal(response, body)
		p.fail(CheckToken, begun, code, words)
	}
}

// room is where media is tried.
type room struct {
	Room     string `json:"room"`
	Identity string `json:"identity"`
	Token    string `json:"token"`
}

func (p *prober) openRoom(ctx context.Context) (room, bool) {
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	response, body, err := p.ask(ctx, http.MethodPost, "/v1/precheck", p.cfg.Token, struct{}{})
	if err != nil {
		p.fail(CheckToken, begun, event.SignalLost, "no answer by HTTP: "+cause(err))
		return room{}, false
	}
	var r room
	if response.StatusCode != http.StatusOK {
		code, words := refusal(response, body)
		p.fail(CheckToken, begun, code, words)
		return room{}, false
	}
	if err := json.Unmarshal(body, &r); err != nil || r.Token == "" {
		p.fail(CheckToken, begun, event.Unknown, "the server names no room for a test; it is of another version")
		return room{}, false
	}
	return r, true
}

// refusal returns the code and the words of an error of the server.
func refusal(response *http.Response, body []byte) (event.Code, string) {
	var problem struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Title  string `json:"title"`
	}
	_ = json.Unmarshal(body, &problem) // what is no problem document has no code
	words := problem.Detail
	if words == "" {
		words = problem.Title
	}
	for _, code := range event.Codes() {
		if string(code) == problem.Code {
			return code, remedy(code, words)
		}
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return event.ServerBusy, "the server takes no test now: " + words
	case http.StatusUnauthorized, http.StatusForbidden:
		return event.TokenBad, "the server refuses the token: " + words
	default:
		return event.SignalLost, "the server answers " + response.Status
	}
}

// remedy completes the server's words with what to do.
func remedy(code event.Code, words string) string {
	switch code {
	case event.TokenExpired:
		return "the token has expired (" + words + "); make another"
	case event.TokenEarly:
		return "the token is not good yet (" + words + "); wait, or compare the clocks"
	case event.TokenBad:
		return "the server refuses the token (" + words + "); make a join token with a key of this server"
	}
	return words
}

// socket is an open session.
type socket struct {
	conn    *websocket.Conn
	servers []signaling.ICEServer

	session, secret string
	tunnelled       bool // the server carries media through a WebSocket too
}

// openSocket says hello in the room and measures the clock.
func (p *prober) openSocket(ctx context.Context, r room) (*socket, error) {
	begun := time.Now()
	s, err := p.hello(ctx, r)
	var refused *refusedError
	if errors.As(err, &refused) {
		p.fail(CheckSocket, begun, refused.code, refused.Error())
		return nil, err
	}
	if err != nil {
		p.fail(CheckSocket, begun, event.SignalLost, "the WebSocket fails ("+cause(err)+"); a proxy in between must let it through")
		return nil, err
	}
	p.ok(CheckSocket, begun, "the server says welcome")
	offset, err := s.ping(p.cfg.Timeout)
	if err != nil {
		_ = s.conn.Close() // it is broken
		p.fail(CheckSocket, begun, event.SignalLost, "the WebSocket broke after the welcome ("+cause(err)+")")
		return nil, err
	}
	p.noteClock(begun, offset)
	return s, nil
}

// refusedError is an "error" message.
type refusedError struct {
	code  event.Code
	words string
}

func (e *refusedError) Error() string { return "the server refuses: " + e.words }

func (p *prober) hello(ctx context.Context, r room) (_ *socket, err error) {
	ctx, cancel := p.step(ctx)
	defer cancel()
	dialer := websocket.Dialer{
		Subprotocols: []string{signaling.Subprotocol}, TLSClientConfig: p.tls, Proxy: http.ProxyURL(p.proxy),
	}
	conn, response, err := dialer.DialContext(ctx, strings.Replace(p.base.String(), "http", "ws", 1)+"/ws", nil)
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	body, err := json.Marshal(signaling.Hello{
		Token:   r.Token,
		Consent: &signaling.Consent{Recording: true, Text: "probe", Lang: "en"}, // nothing is recorded there
		Client:  signaling.ClientInfo{UserAgent: "consilium-probe", Lang: "en"},
	})
	if err != nil {
		return nil, fmt.Errorf("encode hello: %w", err)
	}
	s := &socket{conn: conn}
	reply, err := s.exchange(p.cfg.Timeout, signaling.Envelope{Type: "hello", Body: body}, "welcome")
	if err != nil {
		return nil, err
	}
	var welcome signaling.Welcome
	if err := json.Unmarshal(reply.Body, &welcome); err != nil {
		return nil, fmt.Errorf("decode the welcome: %w", err)
	}
	s.servers, s.session, s.secret = welcome.ICEServers, welcome.Session, welcome.Secret
	s.tunnelled = welcome.Limits.TunnelAfter > 0
	return s, nil
}

// exchange sends a message and reads up to the answer of a type.
func (s *socket) exchange(patience time.Duration, e signaling.Envelope, want string) (signaling.Envelope, error) {
	deadline := time.Now().Add(patience)
	if err := errors.Join(s.conn.SetReadDeadline(deadline), s.conn.SetWriteDeadline(deadline)); err != nil {
		return signaling.Envelope{}, fmt.Errorf("set deadline: %w", err)
	}
	if err := s.conn.WriteJSON(e); err != nil {
		return signaling.Envelope{}, fmt.Errorf("send %s: %w", e.Type, err)
	}
	for {
		var got signaling.Envelope
		if err := s.conn.ReadJSON(&got); err != nil {
			return signaling.Envelope{}, fmt.Errorf("read the answer to %s: %w", e.Type, err)
		}
		switch got.Type {
		case want:
			return got, s.conn.SetReadDeadline(time.Time{})
		case "error":
			var refused signaling.ErrorBody
			if err := json.Unmarshal(got.Body, &refused); err != nil {
				return signaling.Envelope{}, fmt.Errorf("decode an error: %w", err)
			}
			return signaling.Envelope{}, &refusedError{event.Code(refused.Code), refused.Message}
		}
	}
}

// ping returns by how much the server's clock is ahead of ours.
func (s *socket) ping(patience time.Duration) (time.Duration, error) {
	sent := time.Now()
	body, err := json.Marshal(signaling.Ping{Time: float64(sent.UnixMicro()) / 1000})
	if err != nil {
		return 0, fmt.Errorf("encode ping: %w", err)
	}
	reply, err := s.exchange(patience, signaling.Envelope{Type: "ping", Body: body}, "pong")
	if err != nil {
		return 0, err
	}
	half := time.Since(sent) / 2
	var pong signaling.Pong
	if err := json.Unmarshal(reply.Body, &pong); err != nil {
		return 0, fmt.Errorf("decode pong: %w", err)
	}
	return time.UnixMicro(int64(pong.Server * 1000)).Sub(sent.Add(half)), nil
}

// noteClock judges how far the server's clock is ahead of this machine's.
func (p *prober) noteClock(begun time.Time, ahead time.Duration) {
	values := took(begun)
	values["offset_ms"] = milliseconds(-ahead)
	c := Check{Name: CheckClock, Status: OK, Values: values, Words: "the clocks agree"}
	rounded := ahead.Abs().Round(time.Second)
	switch {
	case rounded > clockLimit && ahead > 0:
		c.Status, c.Words = Failed, fmt.Sprintf("this machine's clock is %v behind the server's; set the wrong one", rounded)
	case rounded > clockLimit:
		c.Status, c.Words = Failed, fmt.Sprintf("this machine's clock is %v ahead of the server's; set the wrong one", rounded)
	case rounded > 2*time.Second:
		c.Words = fmt.Sprintf("the clocks differ by %v, which does no harm", rounded)
	}
	p.set(c)
}

// credentials are those of the relay for who has no welcome.
func (p *prober) credentials(ctx context.Context, r room) []signaling.ICEServer {
	ctx, cancel := p.step(ctx)
	defer cancel()
	response, body, err := p.ask(ctx, http.MethodGet, "/v1/turn", r.Token, nil)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil // the checks of the relay say that none is offered
	}
	var c struct {
		Username string   `json:"username"`
		Password string   `json:"password"`
		URIs     []string `json:"uris"`
	}
	if json.Unmarshal(body, &c) != nil {
		return nil
	}
	return []signaling.ICEServer{{URLs: c.URIs, Username: c.Username, Credential: c.Password}}
}

// tell stores the outcome at the server, for whoever made the token. That it
// can't be reached is what the report says already.
func (p *prober) tell(ctx context.Context, r Report) {
	if http := r.check(CheckHTTP); http.Status != OK {
		return
	}
	type outcome struct {
		Status Status             `json:"status"`
		Code   event.Code         `json:"code,omitempty"`
		Values map[string]float64 `json:"values,omitempty"`
	}
	checks := map[string]outcome{}
	for _, c := range r.Checks {
		checks[c.Name] = outcome{c.Status, c.Code, c.Values}
	}
	ctx, cancel := p.step(ctx)
	defer cancel()
	_, _, _ = p.ask(ctx, http.MethodPost, "/v1/diag", p.cfg.Token, map[string]any{
		"precheck": map[string]any{"verdict": r.Verdict, "code": r.Code, "checks": checks},
	})
}
