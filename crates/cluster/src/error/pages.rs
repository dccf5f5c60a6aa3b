//! The codes and their pages.

use base::{Code, ErrorPage};

pub(crate) mod code {
    use base::Code;

    pub(crate) const TOKEN_FORM: Code = Code("BL-CLU-001");
    pub(crate) const TOKEN_VERSION: Code = Code("BL-CLU-002");
    pub(crate) const TOKEN_UNKNOWN: Code = Code("BL-CLU-003");
    pub(crate) const TOKEN_USED: Code = Code("BL-CLU-004");
    pub(crate) const TOKEN_EXPIRED: Code = Code("BL-CLU-005");
    pub(crate) const TOKEN_NAME: Code = Code("BL-CLU-006");
    pub(crate) const NAME_TAKEN: Code = Code("BL-CLU-007");
    pub(crate) const ADDRESS_TAKEN: Code = Code("BL-CLU-008");
    pub(crate) const NAME: Code = Code("BL-CLU-009");
    pub(crate) const ADDRESS: Code = Code("BL-CLU-010");
    pub(crate) const FILE: Code = Code("BL-CLU-011");
    pub(crate) const DAMAGED: Code = Code("BL-CLU-012");
    pub(crate) const ALREADY_MEMBER: Code = Code("BL-CLU-013");
    pub(crate) const NO_AUTHORITY: Code = Code("BL-CLU-014");
    pub(crate) const CERTIFICATE: Code = Code("BL-CLU-015");
    pub(crate) const UNREACHABLE: Code = Code("BL-CLU-016");
    pub(crate) const OTHER_KEY: Code = Code("BL-CLU-017");
    pub(crate) const NOT_MEMBER: Code = Code("BL-CLU-018");
    pub(crate) const NOT_PLACED: Code = Code("BL-CLU-019");
    pub(crate) const NO_LEADER: Code = Code("BL-CLU-020");
    pub(crate) const MESSAGE: Code = Code("BL-CLU-021");
    pub(crate) const ROW: Code = Code("BL-CLU-022");
    pub(crate) const REFUSED: Code = Code("BL-CLU-023");
    pub(crate) const NO_SUCH_NODE: Code = Code("BL-CLU-025");
    pub(crate) const LAST_MEMBER: Code = Code("BL-CLU-026");
    pub(crate) const UNSAFE_REMOVAL: Code = Code("BL-CLU-027");
    pub(crate) const NOT_GONE: Code = Code("BL-CLU-028");
    pub(crate) const KEY_IN_USE: Code = Code("BL-CLU-024");
    pub(crate) const ACCESS_EXISTS: Code = Code("BL-CLU-029");
    pub(crate) const ACCESS_UNKNOWN: Code = Code("BL-CLU-030");
    pub(crate) const MAJORITY_THERE: Code = Code("BL-CLU-031");
    pub(crate) const NO_COPY: Code = Code("BL-CLU-032");
    pub(crate) const OTHERS_LOST: Code = Code("BL-CLU-033");
    pub(crate) const RECOVERING: Code = Code("BL-CLU-034");
    pub(crate) const TARGETS: Code = Code("BL-CLU-035");
    pub(crate) const CLOCKS_APART: Code = Code("BL-CLU-040");
    pub(crate) const KEY_UNKNOWN: Code = Code("BL-CLU-041");
    pub(crate) const NOT_RENEWED: Code = Code("BL-CLU-042");
    pub(crate) const CERTIFICATE_ENDS: Code = Code("BL-CLU-043");
    pub(crate) const CLOCK_DIFFERS: Code = Code("BL-CLU-044");
    pub(crate) const CA_ENDS: Code = Code("BL-CLU-045");
    pub(crate) const AUTHORITY_LATER: Code = Code("BL-CLU-046");
    pub(crate) const CA_ROTATES: Code = Code("BL-CLU-047");
    pub(crate) const ONLY_WITNESS: Code = Code("BL-CLU-050");
    pub(crate) const WITNESS_AHEAD: Code = Code("BL-CLU-051");
    pub(crate) const MEMBER_DEAD: Code = Code("BL-CLU-052");
}

/// The codes of what is no error yet: `bowline status` warns of it.
pub mod warning {
    use base::Code;

    /// A node's certificate ends soon, or is not good now.
    pub const CERTIFICATE_ENDS: Code = super::code::CERTIFICATE_ENDS;
    /// Gossip has found a member dead, or gone.
    pub const MEMBER_DEAD: Code = super::code::MEMBER_DEAD;
    /// The clock of a member differs from the leader's.
    pub const CLOCK_DIFFERS: Code = super::code::CLOCK_DIFFERS;
    /// The cluster's CA ends soon.
    pub const CA_ENDS: Code = super::code::CA_ENDS;
    /// The rotation of the CA waits for members or tokens.
    pub const CA_ROTATES: Code = super::code::CA_ROTATES;
}

const fn page(code: Code, title: &'static str, cause: &'static str, next: &'static str) -> ErrorPage {
    ErrorPage { code, title, cause, next }
}

/// The pages of this crate's codes.
pub const PAGES: &[ErrorPage] = &[
    page(
        code::TOKEN_FORM,
        "The text is not the token that is wanted",
        "A join token starts with `bl1.` and an access token with `ba1.`; each is one unbroken word. Most often a part of it was lost in copying.",
        "Copy the whole token again; or make a new one on a member: `bowline token add` for a machine, `bowline access add` for a client.",
    ),
    page(
        code::TOKEN_VERSION,
        "The token is of a newer form",
        "The cluster runs a newer version of Bowline than this machine.",
        "Install the cluster's version here (`bowline status` on a member shows it), then try again.",
    ),
    page(
        code::TOKEN_UNKNOWN,
        "The cluster does not know the join token",
        "It was revoked, or it expired long ago and was swept away, or another cluster issued it.",
        "Make a new one with `bowline token add` on a member.",
    ),
    page(
        code::TOKEN_USED,
        "The join token was used already",
        "A token lets in one machine. The machine that used it can repeat its join with the same token; this one presents another key, \
         because it is another machine or its state directory was removed in between.",
        "Make a new one with `bowline token add` on a member.",
    ),
    page(
        code::TOKEN_EXPIRED,
        "The join token has expired",
        "A token is valid for an hour unless it was issued for longer. What counts is the clock of the cluster's leader.",
        "Make a new one with `bowline token add` on a member, with `--valid` for a longer time.",
    ),
    page(
        code::TOKEN_NAME,
        "The join token is for a node of another name",
        "It was issued with `--name`, and this machine joins under another name.",
        "Join with `--name` as the message says, or make a token without a name.",
    ),
    page(
        code::NAME_TAKEN,
        "A member has that name already",
        "Names are unique among the members. A machine that was wiped joins as a new node: the old one of its name must go first.",
        "Join with another `--name`; `bowline node list` shows who has which.",
    ),
    page(
        code::ADDRESS_TAKEN,
        "A member has that address already",
        "Two nodes cannot be reached under one address. Perhaps this machine was a member before and was wiped.",
        "Join with another `--address`; `bowline node list` shows who has which.",
    ),
    page(
        code::NAME,
        "The name cannot be a node's name",
        "A node's name is 1 to 63 letters, digits, dots and dashes, starting and ending with a letter or digit.",
        "Give another one with `--name`.",
    ),
    page(
        code::ADDRESS,
        "The address cannot be a node's address",
        "Other nodes connect to it: it must be a host name or an address of this machine that they can reach, and a port.",
        "Give another one with `--address HOST:PORT`.",
    ),
    page(
        code::FILE,
        "A file of the node's identity cannot be read or written",
        "The operating system refused: the message has the file and the reason. The daemon must own its state directory.",
        "Check the owner and the mode of the file and of the directories above it, and the space on the disk.",
    ),
    page(
        code::DAMAGED,
        "A file of the node's identity is damaged or does not fit the others",
        "The files in `identity/` of the state directory belong together: node.json, node.pem, node.key, ca.pem and, where the node \
         may sign, ca.key. One of them was changed, replaced or lost.",
        "Restore `identity/` from a backup of this machine; or remove the state directory and join again as a new node.",
    ),
    page(
        code::ALREADY_MEMBER,
        "This machine is a member of a cluster already",
        "Its state directory holds a node's identity and data.",
        "`bowline status` shows the cluster. To make it a new node of another cluster, stop it and remove its state directory.",
    ),
    page(
        code::NO_AUTHORITY,
        "This node does not hold the key of the cluster's CA",
        "`identity/ca.key` is missing, so this node cannot let others in while it leads.",
        "Copy `identity/ca.key` from another member over a secure channel, mode 0600.",
    ),
    page(
        code::CERTIFICATE,
        "A certificate could not be made",
        "A defect in Bowline, or a CA key file that was made by something else.",
        "Please report it with the message.",
    ),
    page(
        code::UNREACHABLE,
        "No member of the cluster could be reached",
        "The token carries the members' addresses as they were when it was issued. The message has what happened at each: most often a \
         firewall drops port 7440/tcp.",
        "From this machine try `nc -vz HOST 7440`; if the members have moved, make a new token.",
    ),
    page(
        code::OTHER_KEY,
        "A request to join was made with another key than its connection",
        "Somebody passed on the request of another machine, or there is a defect in Bowline.",
        "Join again from the machine itself.",
    ),
    page(
        code::NOT_MEMBER,
        "The node is not a member, or no longer",
        "It was removed from the cluster, or its join was never finished and has lapsed.",
        "To make it a new node, remove its state directory and join again with a new token.",
    ),
    page(
        code::NOT_PLACED,
        "The node is a member but waits for its role",
        "The leader has to copy the databases to it first, or other changes of members come before. It goes on by itself.",
        "`bowline status` shows the role as soon as it has one.",
    ),
    page(
        code::NO_LEADER,
        "The cluster has no leader at the moment",
        "An election is under way (well under a second), or a majority of the voters is down.",
        "Try again in a moment; `bowline status` shows which members answer.",
    ),
    page(
        code::MESSAGE,
        "A message of another node could not be read",
        "The two nodes run versions too far apart, or there is a defect in Bowline.",
        "`bowline node list` shows the versions.",
    ),
    page(
        code::ROW,
        "A row about the cluster in `sys` is damaged",
        "Somebody wrote to the cluster's own tables, or there is a defect in Bowline.",
        "`bowline sql sys 'select * from nodes'` (or tokens) shows the rows.",
    ),
    page(
        code::REFUSED,
        "A member refused, with an error that this version does not know",
        "The member runs a newer version.",
        "Run `bowline explain` with the code in the message on that member.",
    ),
    page(
        code::KEY_IN_USE,
        "A member has this machine's key already",
        "The machine was a member, and a part of its identity is still here. A node whose data is gone must not come back under its \
         old id: it might vote again on what it has forgotten. The key has been put away.",
        "Join again with a new token: the machine becomes a new node. Then remove the old one; `bowline node list` shows it.",
    ),
    page(
        code::NO_SUCH_NODE,
        "There is no node of that name",
        "The name is misspelt, or the node was removed already.",
        "`bowline node list` shows the names.",
    ),
    page(
        code::LAST_MEMBER,
        "The only member cannot be removed",
        "With it the cluster and its databases would end.",
        "Add another machine first (`bowline token add`); or stop the daemon and delete its state directory, if nobody needs the databases.",
    ),
    page(
        code::UNSAFE_REMOVAL,
        "A node is not removed without force",
        "It does not answer, so its daemon would go on until it hears of it; or too many of the others do not answer, so that writes might stop.",
        "`bowline status` shows who is down. Start those first, or say --force.",
    ),
    page(
        code::NOT_GONE,
        "A node is leaving but has not gone yet",
        "Its roles move to other members first, and those must be there to take them. It goes on by itself.",
        "`bowline node list` shows how far it is; the same command waits again.",
    ),
    page(
        code::ACCESS_EXISTS,
        "Somebody of that name has access already",
        "A name has one access token at a time. What it was is known only to its holder: the cluster keeps a hash.",
        "`bowline access revoke NAME` takes it away; then add it again. `bowline access list` shows who has access.",
    ),
    page(
        code::ACCESS_UNKNOWN,
        "Nobody of that name has access",
        "The name is misspelt, or its access was revoked already, or it expired.",
        "`bowline access list` shows who has access.",
    ),
    page(
        code::MAJORITY_THERE,
        "There is nothing to recover",
        "A recovery makes databases go on that have lost the majority of their voters for good. Enough voters answer here: if there is no \
         leader yet, there will be one in a moment.",
        "`bowline status` shows how things are. A member that will not come back is taken out with `bowline node remove NAME --force`.",
    ),
    page(
        code::NO_COPY,
        "Nothing can be recovered on this node",
        "It is a spare: it holds no copy of any database, and does not know the members.",
        "Run `bowline recover` on a voter or a stand-by that is left; `bowline node list` showed the roles. If none is left, the data is in \
         the state directories of the lost machines.",
    ),
    page(
        code::OTHERS_LOST,
        "Other members are lost than were given up",
        "A recovery gives up exactly those members that do not answer, and only if somebody names them: one that still runs somewhere would \
         go on as a cluster of its own.",
        "`bowline recover --dry-run` shows who does not answer now.",
    ),
    page(
        code::RECOVERING,
        "Another member recovers the cluster",
        "`bowline recover` runs on one machine at a time: two might choose differently from which copy a database goes on.",
        "Wait for the other one to end; if its machine has fallen meanwhile, try again after half a minute.",
    ),
    page(
        code::TARGETS,
        "The roles cannot be as asked",
        "An even number of voters survives no more losses than the odd one below it, and more than nine slow every write down. A member that is given up \
         sooner than after two seconds would be given up for a lost packet.",
        "Three voters survive the loss of one machine, five of two: `bowline node roles --voters 5`.",
    ),
    page(
        code::CLOCKS_APART,
        "The clocks of two machines are too far apart",
        "Nodes know each other by certificates, which are good for a year and begin a day before they are made: hours do not matter, days \
         do. The message has both times; most often the clock of a machine that was just switched on is wrong.",
        "Compare `date -u` on both machines and set the wrong clock: `timedatectl set-ntp true`, or `chronyc makestep`. Then do the same \
         again; a token that was used for this machine still lets it in.",
    ),
    page(
        code::KEY_UNKNOWN,
        "No member has the key of this machine",
        "A machine that has the files of a member asked for a certificate, and the cluster has no row with its key: its `sys` went on from \
         an older state, or the files are another cluster's.",
        "Put the state directory aside and join again with a token: the machine becomes a new node.",
    ),
    page(
        code::NOT_RENEWED,
        "A node's certificate could not be renewed",
        "A node that holds the key of the CA renews its certificate by itself; another one asks the members one after another, and none \
         gave it one. The message has what happened at each. It is tried again by itself, until it succeeds.",
        "`bowline status` shows which members answer. If no majority does, start those that are down first.",
    ),
    page(
        code::CERTIFICATE_ENDS,
        "A node's certificate ends soon, or is not good now",
        "Certificates are renewed when a third of their life is left, without anybody's help. This one was not: the machine was off, its \
         clock is wrong, or its disk takes no writes. When it has ended, the other members do not accept the node.",
        "`bowline status` on that machine says why. Once the reason is gone it renews the certificate by itself, also one that has ended: \
         it is known by its key.",
    ),
    page(
        code::CLOCK_DIFFERS,
        "The clock of a member differs from the leader's",
        "Nothing depends on it that matters, up to a day. But times in the audit and in logs cannot be compared, and tokens end sooner or \
         later than they say.",
        "On the machine whose clock is wrong: `timedatectl set-ntp true`, or `chronyc makestep`; `date -u` on both shows which one it is.",
    ),
    page(
        code::CA_ENDS,
        "The cluster's CA ends soon",
        "It is good for ten years, and no certificate that it makes outlives it.",
        "Replace it while the cluster runs: `bowline ca rotate`.",
    ),
    page(
        code::AUTHORITY_LATER,
        "A member does not have the key of the new CA yet",
        "`bowline ca rotate` is under way. The key goes from member to member, and this one was off or cut off when it did. It asks for it by \
         itself.",
        "Try again in a moment. `bowline ca show` tells how far the rotation is.",
    ),
    page(
        code::CA_ROTATES,
        "The rotation of the CA waits",
        "`bowline ca rotate` replaces the CA in steps, and each step waits until all members have done the one before. A member that is down is \
         waited for; the others work as usual meanwhile, and trust both CAs. Before the last step it also waits for tokens that pin the old CA.",
        "Start the members that `bowline ca show` names; or give up waiting: `bowline ca rotate --without NODE`. For tokens: make new ones, or \
         `bowline ca rotate --finish`.",
    ),
    page(
        code::ONLY_WITNESS,
        "Only a witness is left",
        "A recovery goes on from the copy of a machine that keeps data. None of those answers, and a witness keeps none.",
        "Start one of the machines that keep data, and run `bowline recover` there. If none of them can be started, the data is on their \
         disks: their state directories can be moved to other machines.",
    ),
    page(
        code::WITNESS_AHEAD,
        "The witness has acknowledged more than the machines that are left have",
        "What it has acknowledged was on a machine that does not answer, and its own log no longer reaches back to where the others end. If that \
         machine comes back nothing is lost, and all go on by themselves.",
        "Bring the missing machine back. If it is lost for good, run `bowline recover --dry-run` on a machine that keeps data: it says what is lost. The \
         witness is taken out with it, and joins again with a new token.",
    ),
    page(
        code::MEMBER_DEAD,
        "A member is dead, or cannot be heard",
        "The members ask each other about once a second whether they are alive, over UDP, several times and through others. This one did not answer, \
         and did not say otherwise while it was suspected; the message tells who found it silent. If a voter stays away for longer than \
         `bowline node roles` says, a stand-by takes its place.",
        "Look at the machine. `bowline explain NODE` tells what was seen; `bowline member watch` what is. If it answers calls and gossip does not hear it, \
         UDP is held back between the machines: it uses the port of node-to-node calls, 7440.",
    ),
];
