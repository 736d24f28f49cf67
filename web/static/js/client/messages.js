// @ts-check
// The messages of subprotocol consilium.v1, one type a message body, with the
// names and fields of signaling/messages.go. docs/reference/protocol.md says
// what they mean.

/** The WebSocket subprotocol of GET /ws. */
export const SUBPROTOCOL = 'consilium.v1';

/**
 * @typedef {object} Envelope
 * @property {string} type
 * @property {number} [seq]
 * @property {number} [ack]
 * @property {string} [id]
 * @property {string} [re]
 * @property {any} [body]
 */

// Client to server, outside the numbering.

/**
 * @typedef {object} Hello
 * @property {string} token
 * @property {string} [rejoin]
 * @property {string} [room]
 * @property {Consent} [consent]
 * @property {ClientInfo} client
 */
/**
 * @typedef {object} Resume
 * @property {string} session
 * @property {string} secret
 * @property {number} ack
 */
/**
 * @typedef {object} Ping
 * @property {number} time
 */
/**
 * @typedef {object} Consent
 * @property {boolean} recording
 * @property {string} text
 * @property {string} lang
 */
/**
 * @typedef {object} ClientInfo
 * @property {string} [user_agent]
 * @property {string} [version]
 * @property {string} [lang]
 * @property {string} [screen]
 * @property {string} [network]
 */

// Client to server, numbered.

/**
 * @typedef {object} OfferBody
 * @property {string} sdp
 * @property {SentTrack[]} tracks
 * @property {SeatRequest[]} seats
 */
/** @typedef {'mic' | 'cam' | 'screen'} Source */
/**
 * @typedef {object} SentTrack
 * @property {string} mid
 * @property {Source} source
 * @property {boolean} muted
 */
/**
 * @typedef {object} SeatRequest
 * @property {string} [audio]
 * @property {string} video
 */
/**
 * @typedef {object} Candidate
 * @property {string} candidate
 * @property {string} [mid]
 */
/**
 * @typedef {object} Publish
 * @property {string} mid
 * @property {Source} source
 * @property {boolean} active
 * @property {boolean} muted
 */
/**
 * @typedef {object} ViewBody
 * @property {View[]} tracks
 */
/**
 * @typedef {object} View
 * @property {string} track
 * @property {number} width
 * @property {number} height
 */
/**
 * @typedef {object} Report
 * @property {Record<string, Decoded>} decoded
 * @property {Record<string, number>} [stats]
 */
/**
 * @typedef {object} Decoded
 * @property {number} [frames]
 * @property {number} [samples]
 * @property {number} [lost]
 * @property {number} [jitter]
 */
/**
 * @typedef {object} Log
 * @property {LogEntry[]} entries
 */
/**
 * @typedef {object} LogEntry
 * @property {number} time
 * @property {string} stage
 * @property {string} text
 * @property {string} [code]
 * @property {Record<string, any>} [data]
 */
/**
 * @typedef {object} Target
 * @property {string} participant
 */
/**
 * @typedef {object} MuteOther
 * @property {string} participant
 * @property {Source} source
 */
/** @typedef {Record<string, never>} Empty */

// Server to client, outside the numbering.

/**
 * @typedef {object} Welcome
 * @property {string} session
 * @property {string} secret
 * @property {string} call
 * @property {string} room
 * @property {string} identity
 * @property {string} name
 * @property {string} role
 * @property {string[]} grants
 * @property {'joined' | 'waiting'} state
 * @property {boolean} recording
 * @property {ICEServer[]} ice_servers
 * @property {Limits} limits
 * @property {number} time
 */
/**
 * @typedef {object} ICEServer
 * @property {string[]} urls
 * @property {string} [username]
 * @property {string} [credential]
 */
/**
 * @typedef {object} Limits
 * @property {number} message_bytes
 * @property {number} media_timeout
 * @property {number} resume_window
 * @property {number} relay_restart
 * @property {number} report_interval
 * @property {number} tunnel_after
 */
/**
 * @typedef {object} Resumed
 * @property {number} ack
 * @property {boolean} snapshot
 * @property {ICEServer[]} ice_servers
 */
/**
 * @typedef {object} Pong
 * @property {number} time
 * @property {number} server
 */

// Server to client, numbered.

/**
 * @typedef {object} AnswerBody
 * @property {string} sdp
 */
/**
 * @typedef {object} State
 * @property {string} call
 * @property {RecordingBody} recording
 * @property {Participant[]} participants
 */
/**
 * @typedef {object} Participant
 * @property {string} identity
 * @property {string} name
 * @property {string} role
 * @property {'waiting' | 'joined' | 'reconnecting'} state
 * @property {string[]} sessions
 * @property {TrackInfo[]} tracks
 */
/**
 * @typedef {object} TrackInfo
 * @property {string} id
 * @property {string} session
 * @property {Source} source
 * @property {boolean} muted
 * @property {'waiting' | 'flowing' | 'stalled'} state
 */
/**
 * @typedef {object} ParticipantLeft
 * @property {string} identity
 * @property {string} reason
 */
/**
 * @typedef {object} Seats
 * @property {Seat[]} seats
 * @property {number} missing_persons
 * @property {number} missing_screens
 */
/**
 * @typedef {object} Seat
 * @property {string} id
 * @property {string} audio
 * @property {string} video
 * @property {string} participant
 * @property {string} session
 * @property {string} audio_track
 * @property {string} video_track
 */
/**
 * @typedef {object} RecordingBody
 * @property {boolean} on
 * @property {string} [code]
 * @property {string} [incident]
 */
/**
 * @typedef {object} EventBody
 * @property {string} type
 * @property {string} time
 * @property {string} [participant]
 * @property {string} [track]
 * @property {string} [code]
 * @property {string} [stage]
 * @property {string} [direction]
 * @property {Record<string, any>} [data]
 */
/**
 * @typedef {object} Admitted
 * @property {string} [secret]
 */
/**
 * @typedef {object} Muted
 * @property {Source} source
 * @property {string} by
 */
/**
 * @typedef {object} TURNBody
 * @property {ICEServer[]} ice_servers
 */
/**
 * @typedef {object} Ended
 * @property {'left' | 'removed' | 'replaced' | 'call_ended' | 'shutdown' | string} reason
 * @property {string} [code]
 * @property {string} [by]
 * @property {number} [retry]
 */
/**
 * @typedef {object} ErrorBody
 * @property {string} code
 * @property {string} message
 * @property {boolean} [fatal]
 * @property {number} [retry]
 * @property {string} [incident]
 */
