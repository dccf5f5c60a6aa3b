//! The errors that only clients of microcluster see.

use base::{Code, ErrorPage};

pub(crate) const UNANSWERED: ErrorPage = ErrorPage {
    code: Code("BL-API-030"),
    title: "A call of microcluster's has no counterpart here",
    cause: "Bowline answers the calls that microcluster's clients make: members, tokens, bootstrap, join, remove, ready, shutdown. What \
            microcluster's daemons tell each other, and what a program adds under paths of its own, it does not know.",
    next: "the guide's page \"Point microcluster's clients here\" lists what is answered, and what to use instead",
};

pub(crate) const CONFIG: ErrorPage = ErrorPage {
    code: Code("BL-API-031"),
    title: "The configuration of a bootstrap or join is not taken",
    cause: "microcluster hands it to the hooks of the program that is built on it. A node runs no such hooks: what was asked for would be \
            dropped without a word.",
    next: "leave the configuration out, and set those things up with the program that knows them",
};

pub(crate) const TOKEN_OPEN: ErrorPage = ErrorPage {
    code: Code("BL-API-032"),
    title: "There is an open token under that name",
    cause: "To microcluster's clients a token goes by the name of the machine that may use it, so that there is one of each name at a time.",
    next: "revoke it first, under the same name; or issue the second one with `bowline token add --name NAME`",
};

pub(crate) const TOKEN_TIME: ErrorPage = ErrorPage {
    code: Code("BL-API-033"),
    title: "A token has to end",
    cause: "A time of 0 asks microcluster for a token that is good for ever. A node issues none: a lost one would stay a way in.",
    next: "give a time; `microctl tokens add --expire-after 3h NAME`",
};

pub(crate) const ADDRESS: ErrorPage = ErrorPage {
    code: Code("BL-API-034"),
    title: "The node does not serve at that address",
    cause: "microcluster opens its one port when it is bootstrapped or joins. A node has opened its ports when its daemon started; an address \
            with another one would be announced, and nobody would answer there.",
    next: "start the daemon with --https-listen and that port, or give the port that it has",
};

pub(crate) const NO_TOKEN: ErrorPage = ErrorPage {
    code: Code("BL-API-036"),
    title: "There is no open token under that name",
    cause: "It was used, has ended or was revoked, or it was issued under another name.",
    next: "`bowline token list` shows the tokens and what became of them",
};
