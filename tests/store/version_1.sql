-- A database of layout 1, as the kernel of that time left it when it was killed in the midst of work: live rows in every table.
-- `tests/store/test_migration.py` opens it. Its vats' code is `tests.store.old`.

PRAGMA application_id = 1868783984;
PRAGMA user_version = 1;

CREATE TABLE counters (
    kind TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE subclusters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    bootstrap TEXT NOT NULL,
    result TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('launching', 'running'))
) STRICT, WITHOUT ROWID;
CREATE INDEX subclusters_launching ON subclusters (id) WHERE state = 'launching';
CREATE TABLE vats (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    subcluster TEXT,
    source TEXT NOT NULL,
    parameters BLOB NOT NULL,
    parameter_slots TEXT NOT NULL,
    root TEXT,
    state TEXT NOT NULL CHECK (state IN ('new', 'live', 'suspended', 'terminated')),
    incarnation INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    faults INTEGER NOT NULL,
    next_import INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX vats_by_subcluster ON vats (subcluster);
CREATE INDEX vats_terminated ON vats (id) WHERE state = 'terminated';
CREATE TABLE objects (
    kref TEXT PRIMARY KEY,
    owner TEXT,
    reachable INTEGER NOT NULL CHECK (reachable >= 0),
    recognizable INTEGER NOT NULL CHECK (recognizable >= reachable),
    gone TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE promises (
    kref TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('unresolved', 'fulfilled', 'rejected', 'forwarded')),
    decider TEXT,
    target TEXT,
    refs INTEGER NOT NULL CHECK (refs >= 0),
    body BLOB,
    slots TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX promises_by_decider ON promises (decider) WHERE decider IS NOT NULL;
CREATE TABLE subscribers (
    promise TEXT NOT NULL,
    position INTEGER NOT NULL,
    subscriber TEXT NOT NULL,
    PRIMARY KEY (promise, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE clist (
    vat TEXT NOT NULL,
    kref TEXT NOT NULL,
    vref TEXT NOT NULL,
    reachable INTEGER NOT NULL,
    heard INTEGER NOT NULL,
    decided INTEGER NOT NULL,
    PRIMARY KEY (vat, kref)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX clist_by_vref ON clist (vat, vref);
CREATE INDEX clist_by_kref ON clist (kref);
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY,
    place TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('send', 'notify', 'create', 'terminate')),
    cause INTEGER NOT NULL,
    vat TEXT,
    target TEXT,
    method TEXT,
    body BLOB,
    slots TEXT,
    result TEXT,
    reason TEXT
) STRICT;
CREATE INDEX queue_by_place ON queue (place, seq);
CREATE TABLE gc_actions (
    vat TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('drop_export', 'retire_export', 'retire_import')),
    kref TEXT NOT NULL,
    PRIMARY KEY (vat, kind, kref)
) STRICT, WITHOUT ROWID;
CREATE TABLE vatstore (
    vat TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (vat, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE services (
    name TEXT PRIMARY KEY,
    kref TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY,
    crank INTEGER NOT NULL,
    vat TEXT NOT NULL,
    target TEXT NOT NULL,
    method TEXT NOT NULL,
    body BLOB NOT NULL,
    slots TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

INSERT INTO clist VALUES ('host', 'ko1', 'o+d1/1', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko10', 'o-8', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko11', 'o-9', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko13', 'o-13', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko2', 'o+d1/2', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko3', 'o-4', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko4', 'o-5', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko5', 'o-6', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko6', 'o-7', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko7', 'o-11', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'ko9', 'o-14', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'kp22', 'p+16', 1, 0, 0);
INSERT INTO clist VALUES ('host', 'kp25', 'p-15', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko1', 'o-5', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko10', 'o-12', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko11', 'o-14', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko13', 'o-16', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko3', 'o+0', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko4', 'o-2', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko5', 'o-3', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko6', 'o-4', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'ko9', 'o-18', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'kp24', 'p+1', 1, 0, 0);
INSERT INTO clist VALUES ('v1', 'kp25', 'p+2', 1, 0, 0);
INSERT INTO clist VALUES ('v2', 'ko10', 'o+d10/1', 1, 0, 0);
INSERT INTO clist VALUES ('v2', 'ko4', 'o+0', 1, 0, 0);
INSERT INTO clist VALUES ('v2', 'kp23', 'p+1', 1, 0, 1);
INSERT INTO clist VALUES ('v3', 'ko5', 'o+0', 1, 0, 0);
INSERT INTO clist VALUES ('v4', 'ko12', 'o+d10/1', 1, 0, 0);
INSERT INTO clist VALUES ('v4', 'ko6', 'o+0', 1, 0, 0);
INSERT INTO clist VALUES ('v5', 'ko7', 'o+0', 1, 0, 0);
INSERT INTO clist VALUES ('v5', 'ko8', 'o-2', 1, 0, 0);
INSERT INTO clist VALUES ('v6', 'ko13', 'o+1', 1, 0, 0);
INSERT INTO clist VALUES ('v6', 'ko8', 'o+0', 1, 0, 0);
INSERT INTO clist VALUES ('v7', 'ko9', 'o+0', 1, 0, 0);
INSERT INTO clist VALUES ('v8', 'ko14', 'o+0', 1, 0, 0);
INSERT INTO counters VALUES ('crank', 58);
INSERT INTO counters VALUES ('dead_letter', 2);
INSERT INTO counters VALUES ('object', 15);
INSERT INTO counters VALUES ('promise', 30);
INSERT INTO counters VALUES ('queue', 62);
INSERT INTO counters VALUES ('service', 3);
INSERT INTO counters VALUES ('subcluster', 5);
INSERT INTO counters VALUES ('vat', 9);
INSERT INTO dead_letters VALUES (1, 49, 'v4', 'ko6', 'break_down', x'8281d9ca008200644e6f7465a0', 'ko10', 'used more than 100000 turns in one crank');
INSERT INTO gc_actions VALUES ('v4', 'drop_export', 'ko12');
INSERT INTO gc_actions VALUES ('v4', 'retire_export', 'ko12');
INSERT INTO objects VALUES ('ko1', 'host', 2, 2, NULL);
INSERT INTO objects VALUES ('ko10', 'v2', 5, 5, NULL);
INSERT INTO objects VALUES ('ko11', NULL, 2, 2, 'it was not durable, and b (v2): incarnation 0 ended: it was restarted');
INSERT INTO objects VALUES ('ko12', 'v4', 0, 0, NULL);
INSERT INTO objects VALUES ('ko13', 'v6', 2, 2, NULL);
INSERT INTO objects VALUES ('ko14', 'v8', 3, 3, NULL);
INSERT INTO objects VALUES ('ko2', 'host', 1, 1, NULL);
INSERT INTO objects VALUES ('ko3', 'v1', 3, 3, NULL);
INSERT INTO objects VALUES ('ko4', 'v2', 4, 4, NULL);
INSERT INTO objects VALUES ('ko5', 'v3', 5, 5, NULL);
INSERT INTO objects VALUES ('ko6', 'v4', 4, 4, NULL);
INSERT INTO objects VALUES ('ko7', 'v5', 2, 2, NULL);
INSERT INTO objects VALUES ('ko8', 'v6', 2, 2, NULL);
INSERT INTO objects VALUES ('ko9', 'v7', 3, 3, NULL);
INSERT INTO promises VALUES ('kp1', 'fulfilled', NULL, NULL, 1, x'657265616479', '');
INSERT INTO promises VALUES ('kp22', 'forwarded', NULL, 'kp23', 2, NULL, NULL);
INSERT INTO promises VALUES ('kp23', 'unresolved', 'v2', NULL, 2, NULL, NULL);
INSERT INTO promises VALUES ('kp24', 'fulfilled', NULL, NULL, 2, x'8267736574746c656407', '');
INSERT INTO promises VALUES ('kp25', 'unresolved', 'host', NULL, 2, NULL, NULL);
INSERT INTO promises VALUES ('kp28', 'forwarded', NULL, 'kp29', 1, NULL, NULL);
INSERT INTO promises VALUES ('kp29', 'unresolved', NULL, NULL, 2, NULL, NULL);
INSERT INTO promises VALUES ('kp5', 'fulfilled', NULL, NULL, 1, x'657265616479', '');
INSERT INTO queue VALUES (51, 'v3', 'send', 0, NULL, 'ko5', 'count', x'8280a0', '', NULL, NULL);
INSERT INTO queue VALUES (52, 'v3', 'send', 0, NULL, 'ko5', 'keep', x'8282646e6f7465d9ca008200644e6f7465a0', 'ko10', NULL, NULL);
INSERT INTO queue VALUES (53, 'kp23', 'send', 0, NULL, 'kp22', 'count', x'8280a0', '', NULL, NULL);
INSERT INTO queue VALUES (56, '', 'notify', 57, 'v1', 'kp24', NULL, NULL, NULL, NULL, NULL);
INSERT INTO queue VALUES (57, '', 'send', 0, NULL, 'ko3', 'count', x'8280a0', '', NULL, NULL);
INSERT INTO queue VALUES (58, '', 'send', 0, NULL, 'ko4', 'keep', x'8282646c617465d9ca008200644e6f7465a0', 'ko10', NULL, NULL);
INSERT INTO queue VALUES (59, '', 'terminate', 0, 'v7', NULL, NULL, NULL, NULL, NULL, 'enough');
INSERT INTO queue VALUES (60, '', 'create', 0, 'v8', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO queue VALUES (61, '', 'send', 0, NULL, 'ko14', 'bootstrap', x'8282a16178d9ca0082006178a0a0', 'ko14', 'kp29', NULL);
INSERT INTO services VALUES ('desk', 'ko1');
INSERT INTO services VALUES ('vault', 'ko2');
INSERT INTO subclusters VALUES ('s1', 'keep', x'a469626f6f74737472617061616476617473a46161a266736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca0281026162a266736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca02810267736c6565706572a266736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca02810263696c6ca266736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca028102687365727669636573d9ca0281646465736b646e616d65646b656570', 'v1', 'kp1', 'running');
INSERT INTO subclusters VALUES ('s3', 'ending', x'a469626f6f74737472617061616476617473a16161a266736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca028102687365727669636573d9ca0280646e616d6566656e64696e67', 'v7', 'kp5', 'running');
INSERT INTO subclusters VALUES ('s4', 'hurry', x'a0', 'v8', 'kp28', 'launching');
INSERT INTO subscribers VALUES ('kp22', 0, 'host');
INSERT INTO subscribers VALUES ('kp23', 0, 'kp22');
INSERT INTO subscribers VALUES ('kp25', 0, 'v1');
INSERT INTO subscribers VALUES ('kp29', 0, 'kp28');
INSERT INTO vats VALUES ('host', 'host', NULL, '', x'f6', '', NULL, 'live', 1, 0, 0, 16);
INSERT INTO vats VALUES ('v1', 'a', 's1', 'tests.store.old', x'a265636f6c6f7263726564666e65737465648201a16178d9ca028102', '', 'ko3', 'live', 0, 0, 0, 20);
INSERT INTO vats VALUES ('v2', 'b', 's1', 'tests.store.old', x'a265636f6c6f7263726564666e65737465648201a16178d9ca028102', '', 'ko4', 'live', 1, 0, 0, 6);
INSERT INTO vats VALUES ('v3', 'sleeper', 's1', 'tests.store.old', x'a265636f6c6f7263726564666e65737465648201a16178d9ca028102', '', 'ko5', 'suspended', 0, 1, 0, 1);
INSERT INTO vats VALUES ('v4', 'ill', 's1', 'tests.store.old', x'a265636f6c6f7263726564666e65737465648201a16178d9ca028102', '', 'ko6', 'live', 0, 1, 1, 2);
INSERT INTO vats VALUES ('v5', 'a', 's2', 'tests.store.old', x'a265636f6c6f7263726564666e65737465648201a16178d9ca028102', '', 'ko7', 'terminated', 0, 1, 0, 4);
INSERT INTO vats VALUES ('v6', 'b', 's2', 'tests.store.old', x'a265636f6c6f7263726564666e65737465648201a16178d9ca028102', '', 'ko8', 'terminated', 0, 1, 0, 2);
INSERT INTO vats VALUES ('v7', 'a', 's3', 'tests.store.old', x'a265636f6c6f7263726564666e65737465648201a16178d9ca028102', '', 'ko9', 'live', 0, 0, 0, 2);
INSERT INTO vats VALUES ('v8', 'x', 's4', 'tests.store.old', x'a0', '', 'ko14', 'new', -1, 1, 0, 1);
INSERT INTO vatstore VALUES ('v1', x'6370', x'31303031');
INSERT INTO vatstore VALUES ('v1', x'6d3020176200', x'6f2d320ad9ca0082006162');
INSERT INTO vatstore VALUES ('v1', x'6d3020176465736b00', x'6f2d350ad9ca008200646465736b');
INSERT INTO vatstore VALUES ('v1', x'6d302017656e64696e6700', x'6f2d31380ad9ca00820064726f6f74');
INSERT INTO vatstore VALUES ('v1', x'6d302017696c6c00', x'6f2d340ad9ca00820063696c6c');
INSERT INTO vatstore VALUES ('v1', x'6d3020176e6f746500', x'6f2d31320ad9ca008200644e6f7465');
INSERT INTO vatstore VALUES ('v1', x'6d3020176f727068616e00', x'6f2d31360ad9ca008200655363726170');
INSERT INTO vatstore VALUES ('v1', x'6d302017736372617000', x'6f2d31340ad9ca008200655363726170');
INSERT INTO vatstore VALUES ('v1', x'6d302017736c656570657200', x'6f2d330ad9ca00820067736c6565706572');
INSERT INTO vatstore VALUES ('v1', x'6d302017746f74616c00', x'0a01');
INSERT INTO vatstore VALUES ('v1', x'6e30', x'39');
INSERT INTO vatstore VALUES ('v1', x'726f2d3132', x'31204e6f7465');
INSERT INTO vatstore VALUES ('v1', x'726f2d3134', x'31205363726170');
INSERT INTO vatstore VALUES ('v1', x'726f2d3136', x'31205363726170');
INSERT INTO vatstore VALUES ('v1', x'726f2d3138', x'3120726f6f74');
INSERT INTO vatstore VALUES ('v1', x'726f2d32', x'312062');
INSERT INTO vatstore VALUES ('v1', x'726f2d33', x'3120736c6565706572');
INSERT INTO vatstore VALUES ('v1', x'726f2d34', x'3120696c6c');
INSERT INTO vatstore VALUES ('v1', x'726f2d35', x'31206465736b');
INSERT INTO vatstore VALUES ('v2', x'63643130', x'31303031');
INSERT INTO vatstore VALUES ('v2', x'63643131', x'31303031');
INSERT INTO vatstore VALUES ('v2', x'636b', x'31303031');
INSERT INTO vatstore VALUES ('v2', x'636f', x'31303031');
INSERT INTO vatstore VALUES ('v2', x'6370', x'31303031');
INSERT INTO vatstore VALUES ('v2', x'6b3130', x'4e6f7465');
INSERT INTO vatstore VALUES ('v2', x'6b3131', x'766174732e64757261626c655f70726f6d697365732e44757261626c6550726f6d6973654b6974');
INSERT INTO vatstore VALUES ('v2', x'6d3020176b697400', x'6f2b6431312f320ad9ca0082007144757261626c6550726f6d6973654b6974');
INSERT INTO vatstore VALUES ('v2', x'6d302017746f74616c00', x'0a01');
INSERT INTO vatstore VALUES ('v2', x'6e30', x'32');
INSERT INTO vatstore VALUES ('v2', x'726f2b6431312f32', x'3120');
INSERT INTO vatstore VALUES ('v2', x'736f2b6431302f31', x'0aa164746578746764757261626c65');
INSERT INTO vatstore VALUES ('v2', x'736f2b6431312f31', x'0aa3647670696463702b316869735f74616b656ef4676f7574636f6d65f6');
INSERT INTO vatstore VALUES ('v2', x'736f2b6431312f32', x'0aa3647670696463702b326869735f74616b656ef5676f7574636f6d6582f48267736574746c656407');
INSERT INTO vatstore VALUES ('v2', x'756f2b6431312f31', x'');
INSERT INTO vatstore VALUES ('v2', x'786f2b6431302f31', x'72');
INSERT INTO vatstore VALUES ('v4', x'63643130', x'31303031');
INSERT INTO vatstore VALUES ('v4', x'636b', x'31303031');
INSERT INTO vatstore VALUES ('v4', x'6b3130', x'4e6f7465');
INSERT INTO vatstore VALUES ('v4', x'736f2b6431302f31', x'0aa1647465787469666f72676f7474656e');
INSERT INTO vatstore VALUES ('v4', x'786f2b6431302f31', x'72');
INSERT INTO vatstore VALUES ('v5', x'6d3020176200', x'6f2d320ad9ca0082006162');
INSERT INTO vatstore VALUES ('v5', x'6e30', x'31');
INSERT INTO vatstore VALUES ('v5', x'726f2d32', x'312062');
INSERT INTO vatstore VALUES ('v6', x'636f', x'31303031');
