-- A database of layout 2, as the kernel of that time left it when it was killed in the midst of work: live rows in every table.
-- `tests/store/test_migration.py` opens it. Its vats' code is `tests.store.old`.

PRAGMA application_id = 1868783984;
PRAGMA user_version = 2;

CREATE TABLE counters (
    kind TEXT PRIMARY KEY,          -- crank, object, promise, vat, subcluster, queue, dead_letter, epoch
    next INTEGER NOT NULL           -- the next id of the kind; only grows
) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES('crank',79);
INSERT INTO counters VALUES('dead_letter',2);
INSERT INTO counters VALUES('epoch',2);
INSERT INTO counters VALUES('facet',3);
INSERT INTO counters VALUES('object',20);
INSERT INTO counters VALUES('promise',44);
INSERT INTO counters VALUES('queue',73);
INSERT INTO counters VALUES('service',3);
INSERT INTO counters VALUES('subcluster',6);
INSERT INTO counters VALUES('vat',11);
CREATE TABLE subclusters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    bootstrap TEXT NOT NULL,        -- the vat whose root was bootstrapped
    result TEXT NOT NULL,           -- the promise for what bootstrap returned
    state TEXT NOT NULL CHECK (state IN ('launching', 'running')),
    config_slots TEXT NOT NULL DEFAULT '',
    is_system INTEGER NOT NULL DEFAULT 0,  -- 1: declared by the host program at its start
    replaces TEXT                   -- the subcluster that ends when this one runs
) STRICT, WITHOUT ROWID;
INSERT INTO subclusters VALUES('s1','keep',X'a469626f6f74737472617061616476617473a46161a866736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca02810268637269746963616cf4686f6e5f6661756c746773757370656e646b6661756c745f6c696d69740367696d706f727473f66a726561705f6166746572f66a656e646f776d656e7473d9ca02806162a866736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca02810268637269746963616cf4686f6e5f6661756c746773757370656e646b6661756c745f6c696d69740367696d706f727473f66a726561705f6166746572f66a656e646f776d656e7473d9ca028067736c6565706572a866736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca02810268637269746963616cf4686f6e5f6661756c746773757370656e646b6661756c745f6c696d69740367696d706f727473f66a726561705f6166746572f66a656e646f776d656e7473d9ca028063696c6ca866736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a265636f6c6f7263726564666e65737465648201a16178d9ca02810268637269746963616cf4686f6e5f6661756c746773757370656e646b6661756c745f6c696d69740367696d706f727473f66a726561705f6166746572f66a656e646f776d656e7473d9ca0280687365727669636573d9ca0281646465736b646e616d65646b656570','v1','kp1','running','',0,NULL);
INSERT INTO subclusters VALUES('s2','power',X'a469626f6f74737472617061616476617473a16161a866736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a068637269746963616cf4686f6e5f6661756c746773757370656e646b6661756c745f6c696d69740367696d706f727473f66a726561705f6166746572f66a656e646f776d656e7473d9ca0280687365727669636573d9ca0281697661745f61646d696e646e616d6565706f776572','v5','kp17','running','',0,NULL);
INSERT INTO subclusters VALUES('s3','ending',X'a469626f6f74737472617061616476617473a16161a866736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a068637269746963616cf4686f6e5f6661756c746773757370656e646b6661756c745f6c696d69740367696d706f727473f66a726561705f6166746572f66a656e646f776d656e7473d9ca0280687365727669636573d9ca0280646e616d6566656e64696e67','v7','kp27','running','',0,NULL);
INSERT INTO subclusters VALUES('s5','hurry',X'a469626f6f74737472617061786476617473a16178a866736f757263656f74657374732e73746f72652e6f6c646a706172616d6574657273a068637269746963616cf4686f6e5f6661756c746773757370656e646b6661756c745f6c696d69740367696d706f727473f66a726561705f6166746572f66a656e646f776d656e7473d9ca0280687365727669636573d9ca0280646e616d65656875727279','v10','kp40','launching','',0,NULL);
CREATE TABLE vats (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    subcluster TEXT,
    source TEXT NOT NULL,
    parameters BLOB NOT NULL,
    parameter_slots TEXT NOT NULL,  -- krefs, separated by spaces
    root TEXT,
    state TEXT NOT NULL CHECK (state IN ('new', 'live', 'suspended', 'terminated')),
    incarnation INTEGER NOT NULL,
    ended INTEGER NOT NULL,         -- 1: nobody waits for the current incarnation any more
    faults INTEGER NOT NULL,
    next_import INTEGER NOT NULL,
    options TEXT NOT NULL DEFAULT '{}',  -- JSON
    done TEXT,                      -- the promise of how the vat ends, if anybody may ask
    epoch INTEGER NOT NULL DEFAULT 0  -- the restart of all vats that the current incarnation came after
) STRICT, WITHOUT ROWID;
INSERT INTO vats VALUES('host','host',NULL,'',X'f6','',NULL,'live',1,0,0,23,'{}',NULL,0);
INSERT INTO vats VALUES('kernel','kernel',NULL,'',X'f6','',NULL,'live',0,0,0,1,'{}',NULL,0);
INSERT INTO vats VALUES('v1','a','s1','tests.store.old',X'a265636f6c6f7263726564666e65737465648201a16178d9ca028102','','ko3','live',0,0,0,19,'{}',NULL,1);
INSERT INTO vats VALUES('v10','x','s5','tests.store.old',X'a0','','ko19','new',-1,1,0,1,'{}',NULL,0);
INSERT INTO vats VALUES('v2','b','s1','tests.store.old',X'a265636f6c6f7263726564666e65737465648201a16178d9ca028102','','ko4','live',1,0,0,5,'{}',NULL,1);
INSERT INTO vats VALUES('v3','sleeper','s1','tests.store.old',X'a265636f6c6f7263726564666e65737465648201a16178d9ca028102','','ko5','suspended',0,1,0,2,'{}',NULL,1);
INSERT INTO vats VALUES('v4','ill','s1','tests.store.old',X'a265636f6c6f7263726564666e65737465648201a16178d9ca028102','','ko6','live',1,0,0,3,'{}',NULL,1);
INSERT INTO vats VALUES('v5','a','s2','tests.store.old',X'a0','','ko10','live',0,0,0,8,'{}',NULL,1);
INSERT INTO vats VALUES('v6','dynamic','s2','tests.store.old',X'a0','','ko12','live',0,0,0,2,'{}','kp22',1);
INSERT INTO vats VALUES('v7','a','s3','tests.store.old',X'a0','','ko14','live',0,0,0,2,'{}',NULL,1);
INSERT INTO vats VALUES('v8','a','s4','tests.store.old',X'a0','','ko15','terminated',0,1,0,3,'{}',NULL,1);
INSERT INTO vats VALUES('v9','b','s4','tests.store.old',X'a0','','ko16','terminated',0,1,0,2,'{}',NULL,1);
CREATE TABLE objects (
    kref TEXT PRIMARY KEY,
    owner TEXT,                     -- the exporting vat; NULL for an orphan
    reachable INTEGER NOT NULL CHECK (reachable >= 0),
    recognizable INTEGER NOT NULL CHECK (recognizable >= reachable),
    gone TEXT                       -- why an orphan has no owner, or that it is revoked
) STRICT, WITHOUT ROWID;
INSERT INTO objects VALUES('ko1','host',2,2,NULL);
INSERT INTO objects VALUES('ko10','v5',2,2,NULL);
INSERT INTO objects VALUES('ko11','kernel',2,2,NULL);
INSERT INTO objects VALUES('ko12','v6',3,3,NULL);
INSERT INTO objects VALUES('ko13','kernel',2,2,NULL);
INSERT INTO objects VALUES('ko14','v7',3,3,NULL);
INSERT INTO objects VALUES('ko15','v8',1,1,NULL);
INSERT INTO objects VALUES('ko16','v9',2,2,NULL);
INSERT INTO objects VALUES('ko17','v9',1,1,NULL);
INSERT INTO objects VALUES('ko18','v4',0,0,NULL);
INSERT INTO objects VALUES('ko19','v10',3,3,NULL);
INSERT INTO objects VALUES('ko2','host',1,1,NULL);
INSERT INTO objects VALUES('ko3','v1',4,4,NULL);
INSERT INTO objects VALUES('ko4','v2',4,4,NULL);
INSERT INTO objects VALUES('ko5','v3',5,5,NULL);
INSERT INTO objects VALUES('ko6','v4',4,4,NULL);
INSERT INTO objects VALUES('ko7','v2',6,6,NULL);
INSERT INTO objects VALUES('ko8',NULL,2,2,'it was not durable, and incarnation 0 of v2 ended: it was restarted');
CREATE TABLE promises (
    kref TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('unresolved', 'fulfilled', 'rejected', 'forwarded')),
    decider TEXT,
    target TEXT,                    -- the promise a forwarded one follows
    refs INTEGER NOT NULL CHECK (refs >= 0),
    body BLOB,
    slots TEXT                      -- krefs, separated by spaces
) STRICT, WITHOUT ROWID;
INSERT INTO promises VALUES('kp1','fulfilled',NULL,NULL,1,X'657265616479','');
INSERT INTO promises VALUES('kp13','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp14','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp15','forwarded',NULL,'kp19',2,NULL,NULL);
INSERT INTO promises VALUES('kp16','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp17','fulfilled',NULL,NULL,1,X'657265616479','');
INSERT INTO promises VALUES('kp19','unresolved','v2',NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp22','unresolved',NULL,NULL,3,NULL,NULL);
INSERT INTO promises VALUES('kp26','forwarded',NULL,'kp22',1,NULL,NULL);
INSERT INTO promises VALUES('kp27','fulfilled',NULL,NULL,1,X'657265616479','');
INSERT INTO promises VALUES('kp37','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp38','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp39','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp40','forwarded',NULL,'kp41',2,NULL,NULL);
INSERT INTO promises VALUES('kp41','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp42','unresolved',NULL,NULL,2,NULL,NULL);
INSERT INTO promises VALUES('kp43','unresolved',NULL,NULL,2,NULL,NULL);
CREATE TABLE subscribers (
    promise TEXT NOT NULL,
    position INTEGER NOT NULL,
    subscriber TEXT NOT NULL,       -- a vat, or a promise that follows this one
    PRIMARY KEY (promise, position)
) STRICT, WITHOUT ROWID;
INSERT INTO subscribers VALUES('kp13',0,'host');
INSERT INTO subscribers VALUES('kp14',0,'host');
INSERT INTO subscribers VALUES('kp15',0,'host');
INSERT INTO subscribers VALUES('kp16',0,'host');
INSERT INTO subscribers VALUES('kp19',0,'kp15');
INSERT INTO subscribers VALUES('kp22',0,'kp26');
INSERT INTO subscribers VALUES('kp26',0,'host');
INSERT INTO subscribers VALUES('kp37',0,'host');
INSERT INTO subscribers VALUES('kp38',0,'host');
INSERT INTO subscribers VALUES('kp39',0,'host');
INSERT INTO subscribers VALUES('kp40',0,'host');
INSERT INTO subscribers VALUES('kp41',0,'kp40');
INSERT INTO subscribers VALUES('kp42',0,'host');
INSERT INTO subscribers VALUES('kp43',0,'host');
CREATE TABLE clist (
    vat TEXT NOT NULL,
    kref TEXT NOT NULL,
    vref TEXT NOT NULL,
    reachable INTEGER NOT NULL,
    heard INTEGER NOT NULL,         -- a promise whose settlement any incarnation is to hear of
    decided INTEGER NOT NULL,       -- a promise that any incarnation decides
    PRIMARY KEY (vat, kref)
) STRICT, WITHOUT ROWID;
INSERT INTO clist VALUES('host','ko1','o+d1/1',1,0,0);
INSERT INTO clist VALUES('host','ko10','o-10',1,0,0);
INSERT INTO clist VALUES('host','ko11','o-11',1,0,0);
INSERT INTO clist VALUES('host','ko12','o-12',1,0,0);
INSERT INTO clist VALUES('host','ko13','o-13',1,0,0);
INSERT INTO clist VALUES('host','ko14','o-15',1,0,0);
INSERT INTO clist VALUES('host','ko2','o+d1/2',1,0,0);
INSERT INTO clist VALUES('host','ko3','o-5',1,0,0);
INSERT INTO clist VALUES('host','ko4','o-2',1,0,0);
INSERT INTO clist VALUES('host','ko5','o-6',1,0,0);
INSERT INTO clist VALUES('host','ko6','o-7',1,0,0);
INSERT INTO clist VALUES('host','ko7','o-3',1,0,0);
INSERT INTO clist VALUES('host','ko8','o-4',1,0,0);
INSERT INTO clist VALUES('host','kp13','p+11',1,0,0);
INSERT INTO clist VALUES('host','kp14','p+12',1,0,0);
INSERT INTO clist VALUES('host','kp15','p+13',1,0,0);
INSERT INTO clist VALUES('host','kp16','p+14',1,0,0);
INSERT INTO clist VALUES('host','kp26','p+20',1,0,0);
INSERT INTO clist VALUES('host','kp37','p+27',1,0,0);
INSERT INTO clist VALUES('host','kp38','p+28',1,0,0);
INSERT INTO clist VALUES('host','kp39','p+29',1,0,0);
INSERT INTO clist VALUES('host','kp40','p-20',1,0,0);
INSERT INTO clist VALUES('host','kp42','p-21',1,0,0);
INSERT INTO clist VALUES('host','kp43','p-22',1,0,0);
INSERT INTO clist VALUES('kernel','ko11','o+d1/1',1,0,0);
INSERT INTO clist VALUES('kernel','ko13','o+d2/2',1,0,0);
INSERT INTO clist VALUES('v1','ko1','o-5',1,0,0);
INSERT INTO clist VALUES('v1','ko14','o-14',1,0,0);
INSERT INTO clist VALUES('v1','ko17','o-16',1,0,0);
INSERT INTO clist VALUES('v1','ko3','o+0',1,0,0);
INSERT INTO clist VALUES('v1','ko4','o-2',1,0,0);
INSERT INTO clist VALUES('v1','ko5','o-3',1,0,0);
INSERT INTO clist VALUES('v1','ko6','o-4',1,0,0);
INSERT INTO clist VALUES('v1','ko7','o-7',1,0,0);
INSERT INTO clist VALUES('v1','ko8','o-9',1,0,0);
INSERT INTO clist VALUES('v10','ko19','o+0',1,0,0);
INSERT INTO clist VALUES('v2','ko4','o+0',1,0,0);
INSERT INTO clist VALUES('v2','ko7','o+d10/1',1,0,0);
INSERT INTO clist VALUES('v2','kp19','p+1',1,0,1);
INSERT INTO clist VALUES('v3','ko5','o+0',1,0,0);
INSERT INTO clist VALUES('v4','ko18','o+d10/1001',0,0,0);
INSERT INTO clist VALUES('v4','ko6','o+0',1,0,0);
INSERT INTO clist VALUES('v5','ko10','o+0',1,0,0);
INSERT INTO clist VALUES('v5','ko11','o-2',1,0,0);
INSERT INTO clist VALUES('v5','ko12','o-7',1,0,0);
INSERT INTO clist VALUES('v5','ko13','o-5',1,0,0);
INSERT INTO clist VALUES('v6','ko12','o+0',1,0,0);
INSERT INTO clist VALUES('v7','ko14','o+0',1,0,0);
INSERT INTO clist VALUES('v8','ko15','o+0',1,0,0);
INSERT INTO clist VALUES('v8','ko16','o-2',1,0,0);
INSERT INTO clist VALUES('v9','ko16','o+0',1,0,0);
INSERT INTO clist VALUES('v9','ko17','o+1',1,0,0);
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY,
    place TEXT NOT NULL,            -- '' the run queue; else the promise or vat it waits at
    kind TEXT NOT NULL CHECK (kind IN ('send', 'notify', 'create', 'upgrade', 'ping', 'terminate')),
    cause INTEGER NOT NULL,
    vat TEXT,
    target TEXT,                    -- send: object or promise; notify: the promise
    method TEXT,
    body BLOB,                      -- send: arguments; upgrade: parameters; terminate: the reason in detail
    slots TEXT,
    result TEXT,
    source TEXT,                    -- upgrade
    options TEXT,                   -- upgrade: those it brings, as JSON
    reason TEXT                     -- terminate
) STRICT;
INSERT INTO queue VALUES(27,'v3','send',0,NULL,'ko5','count',X'8280a0','','kp13',NULL,NULL,NULL);
INSERT INTO queue VALUES(28,'v3','send',0,NULL,'ko5','keep',X'8282646e6f7465d9ca008200644e6f7465a0','ko7','kp14',NULL,NULL,NULL);
INSERT INTO queue VALUES(30,'kp19','send',0,NULL,'kp15','count',X'8280a0','','kp16',NULL,NULL,NULL);
INSERT INTO queue VALUES(65,'','send',0,NULL,'ko3','note_answer',X'8282616265636f756e74a0','','kp37',NULL,NULL,NULL);
INSERT INTO queue VALUES(66,'','send',0,NULL,'ko3','count',X'8280a0','','kp38',NULL,NULL,NULL);
INSERT INTO queue VALUES(67,'','send',0,NULL,'ko4','keep',X'8282646c617465d9ca008200644e6f7465a0','ko7','kp39',NULL,NULL,NULL);
INSERT INTO queue VALUES(68,'','create',0,'v10',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO queue VALUES(69,'','send',0,NULL,'ko19','bootstrap',X'8282a16178d9ca0082006178a0a0','ko19','kp41',NULL,NULL,NULL);
INSERT INTO queue VALUES(70,'','upgrade',0,'v1',NULL,NULL,X'a165636f6c6f7264626c7565','','kp42','tests.store.old',NULL,NULL);
INSERT INTO queue VALUES(71,'','ping',0,'v2',NULL,NULL,NULL,NULL,'kp43',NULL,NULL,NULL);
INSERT INTO queue VALUES(72,'','terminate',0,'v7',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'enough');
CREATE TABLE gc_actions (
    vat TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('drop_export', 'retire_export', 'retire_import')),
    kref TEXT NOT NULL,
    PRIMARY KEY (vat, kind, kref)
) STRICT, WITHOUT ROWID;
INSERT INTO gc_actions VALUES('v4','retire_export','ko18');
CREATE TABLE vatstore (
    vat TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (vat, key)
) STRICT, WITHOUT ROWID;
INSERT INTO vatstore VALUES('v1',X'6d3020176200',X'6f2d320ad9ca0082006162');
INSERT INTO vatstore VALUES('v1',X'6d3020176465736b00',X'6f2d350ad9ca008200646465736b');
INSERT INTO vatstore VALUES('v1',X'6d302017656e64696e6700',X'6f2d31340ad9ca00820064726f6f74');
INSERT INTO vatstore VALUES('v1',X'6d302017696c6c00',X'6f2d340ad9ca00820063696c6c');
INSERT INTO vatstore VALUES('v1',X'6d3020176e6f746500',X'6f2d370ad9ca008200644e6f7465');
INSERT INTO vatstore VALUES('v1',X'6d3020176f727068616e00',X'6f2d31360ad9ca008200655363726170');
INSERT INTO vatstore VALUES('v1',X'6d302017736372617000',X'6f2d390ad9ca008200655363726170');
INSERT INTO vatstore VALUES('v1',X'6d302017736c656570657200',X'6f2d330ad9ca00820067736c6565706572');
INSERT INTO vatstore VALUES('v1',X'6d302017746f74616c00',X'0a01');
INSERT INTO vatstore VALUES('v1',X'6e30',X'39');
INSERT INTO vatstore VALUES('v1',X'726f2d3134',X'3120726f6f74');
INSERT INTO vatstore VALUES('v1',X'726f2d3136',X'31205363726170');
INSERT INTO vatstore VALUES('v1',X'726f2d32',X'312062');
INSERT INTO vatstore VALUES('v1',X'726f2d33',X'3120736c6565706572');
INSERT INTO vatstore VALUES('v1',X'726f2d34',X'3120696c6c');
INSERT INTO vatstore VALUES('v1',X'726f2d35',X'31206465736b');
INSERT INTO vatstore VALUES('v1',X'726f2d37',X'31204e6f7465');
INSERT INTO vatstore VALUES('v1',X'726f2d39',X'31205363726170');
INSERT INTO vatstore VALUES('v2',X'63643130',X'31303031');
INSERT INTO vatstore VALUES('v2',X'636431303130',X'31303031');
INSERT INTO vatstore VALUES('v2',X'636b',X'32303031');
INSERT INTO vatstore VALUES('v2',X'636f',X'31303031');
INSERT INTO vatstore VALUES('v2',X'6370',X'31303031');
INSERT INTO vatstore VALUES('v2',X'6b3130',X'4e6f7465');
INSERT INTO vatstore VALUES('v2',X'6b31303130',X'766174732e64757261626c655f70726f6d697365732e44757261626c6550726f6d6973654b6974');
INSERT INTO vatstore VALUES('v2',X'6d3020176b697400',X'6f2b64313031302f310ad9ca0082007144757261626c6550726f6d6973654b6974');
INSERT INTO vatstore VALUES('v2',X'6d302017746f74616c00',X'0a01');
INSERT INTO vatstore VALUES('v2',X'6e30',X'32');
INSERT INTO vatstore VALUES('v2',X'726f2b64313031302f31',X'3120');
INSERT INTO vatstore VALUES('v2',X'736f2b6431302f31',X'0aa164746578746764757261626c65');
INSERT INTO vatstore VALUES('v2',X'736f2b64313031302f31',X'0aa3647670696463702b316869735f74616b656ef4676f7574636f6d65f6');
INSERT INTO vatstore VALUES('v2',X'786f2b6431302f31',X'72');
INSERT INTO vatstore VALUES('v3',X'6d302017746f74616c00',X'0a01');
INSERT INTO vatstore VALUES('v3',X'6e30',X'31');
INSERT INTO vatstore VALUES('v4',X'63643130',X'32303031');
INSERT INTO vatstore VALUES('v4',X'636b',X'31303031');
INSERT INTO vatstore VALUES('v4',X'6b3130',X'4e6f7465');
INSERT INTO vatstore VALUES('v4',X'736f2b6431302f31303031',X'0aa1647465787469666f72676f7474656e');
INSERT INTO vatstore VALUES('v4',X'756f2b6431302f31303031',X'');
INSERT INTO vatstore VALUES('v4',X'786f2b6431302f31303031',X'73');
INSERT INTO vatstore VALUES('v5',X'6d30201761646d696e00',X'6f2d350ad9ca0082006541646d696e');
INSERT INTO vatstore VALUES('v5',X'6d3020176368696c6400',X'6f2d370ad9ca0082006764796e616d6963');
INSERT INTO vatstore VALUES('v5',X'6d3020177661745f61646d696e00',X'6f2d320ad9ca0082006856617441646d696e');
INSERT INTO vatstore VALUES('v5',X'6e30',X'33');
INSERT INTO vatstore VALUES('v5',X'726f2d32',X'312056617441646d696e');
INSERT INTO vatstore VALUES('v5',X'726f2d35',X'312041646d696e');
INSERT INTO vatstore VALUES('v5',X'726f2d37',X'312064796e616d6963');
INSERT INTO vatstore VALUES('v6',X'6d302017746f74616c00',X'0a01');
INSERT INTO vatstore VALUES('v6',X'6e30',X'31');
INSERT INTO vatstore VALUES('v8',X'6d3020176200',X'6f2d320ad9ca0082006162');
INSERT INTO vatstore VALUES('v8',X'6e30',X'31');
INSERT INTO vatstore VALUES('v8',X'726f2d32',X'312062');
INSERT INTO vatstore VALUES('v9',X'636f',X'31303031');
CREATE TABLE services (
    name TEXT PRIMARY KEY,
    kref TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO services VALUES('desk','ko1');
INSERT INTO services VALUES('vault','ko2');
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
INSERT INTO dead_letters VALUES(1,26,'v4','ko6','break_down',X'8281d9ca008200644e6f7465a0','ko7','used more than 100000 turns in one crank');
CREATE TABLE pins (
    kref TEXT PRIMARY KEY           -- what the host program keeps alive
) STRICT, WITHOUT ROWID;
INSERT INTO pins VALUES('ko7');
CREATE TABLE facets (
    kref TEXT PRIMARY KEY,          -- an object of the kernel's own
    kind TEXT NOT NULL CHECK (kind IN ('vat_admin', 'admin')),
    subject TEXT NOT NULL,          -- the subcluster or vat it administers
    done TEXT                       -- admin: the promise of how the vat ended
) STRICT, WITHOUT ROWID;
INSERT INTO facets VALUES('ko11','vat_admin','s2',NULL);
INSERT INTO facets VALUES('ko13','admin','v6','kp22');
CREATE TABLE events (
    key TEXT PRIMARY KEY,           -- as the host program named it
    epoch INTEGER NOT NULL          -- the how manyth restart of all vats it was
) STRICT, WITHOUT ROWID;
INSERT INTO events VALUES('first',1);
CREATE INDEX subclusters_launching ON subclusters (id) WHERE state = 'launching';
CREATE INDEX vats_by_subcluster ON vats (subcluster);
CREATE INDEX vats_terminated ON vats (id) WHERE state = 'terminated';
CREATE INDEX promises_by_decider ON promises (decider) WHERE decider IS NOT NULL;
CREATE UNIQUE INDEX clist_by_vref ON clist (vat, vref);
CREATE INDEX clist_by_kref ON clist (kref);
CREATE INDEX queue_by_place ON queue (place, seq);
