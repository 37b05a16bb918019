BEGIN TRANSACTION;
CREATE TABLE request (
	id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	session VARCHAR NOT NULL, 
	requester VARCHAR NOT NULL, 
	action_digest VARCHAR NOT NULL, 
	level INTEGER NOT NULL, 
	quorum INTEGER NOT NULL, 
	question TEXT NOT NULL, 
	nonce VARCHAR NOT NULL, 
	request_digest VARCHAR NOT NULL, 
	created_ms BIGINT NOT NULL, 
	expires_ms BIGINT NOT NULL, 
	use_by_ms BIGINT, 
	moved_ms BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "request" VALUES('ap_aaaaaaaaaaaaaaaa','approved','s1','agent:codex@1000 via mcp','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1,1,'{"action_digest": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "tool": "exec", "facts": [["argv", "systemctl restart nginx"], ["cwd", "/srv"]], "session": "s1", "requester": {"channel": "mcp", "uid": 1000, "name": "agent:codex", "level": 0}, "need": {"level": 1, "quorum": 1, "ttl_s": 300, "use_within_s": 60}, "preview": "", "warnings": [], "for_session": []}','f804e219e00b4327c656cf798da4d59c','c4f48a0a48ce122548f4a5bfd5a9fe2b8386656ad3b5016f4adec4b0f99d6884',1800000000000,1800000300000,1800000060000,1800000000000);
INSERT INTO "request" VALUES('ap_bbbbbbbbbbbbbbbb','pending','s1','agent:codex@1000 via mcp','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',1,1,'{"action_digest": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "tool": "exec", "facts": [["argv", "systemctl restart nginx"], ["cwd", "/srv"]], "session": "s1", "requester": {"channel": "mcp", "uid": 1000, "name": "agent:codex", "level": 0}, "need": {"level": 1, "quorum": 1, "ttl_s": 300, "use_within_s": 60}, "preview": "", "warnings": [], "for_session": []}','d4c714fd2bc0dd138cdfb47e903d0016','d8db973dc9370525f683da7646e7a21c36d94a81bafabe017384e6d5ebad7e84',1800000000000,1800000300000,NULL,1800000000000);
CREATE TABLE vote (
	request VARCHAR NOT NULL, 
	person VARCHAR NOT NULL, 
	answer VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	uid BIGINT NOT NULL, 
	name VARCHAR NOT NULL, 
	level INTEGER NOT NULL, 
	PRIMARY KEY (request, person, answer), 
	FOREIGN KEY(request) REFERENCES request (id)
);
INSERT INTO "vote" VALUES('ap_aaaaaaaaaaaaaaaa','uid:1000','approve','terminal',1000,'owner',2);
CREATE INDEX request_by_action ON request (action_digest, state);
CREATE INDEX request_by_state ON request (state);
CREATE UNIQUE INDEX request_live ON request (session, requester, action_digest, level, quorum) WHERE state IN ('pending', 'approved');
COMMIT;
PRAGMA user_version = 1;
