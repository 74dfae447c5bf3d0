/** The panel beside a group's conversation: who is in it, and what may be changed. */
import { by, make, nameOf, paint } from "./dom.js";
import { isAdmin } from "./groups.js";
import { usersIn, wordsOf } from "./starting.js";
/** Shows and changes the open group's members. */
export class Members {
    model;
    talk = by("talk", HTMLElement);
    panel = by("members", HTMLElement);
    opener = by("members-open", HTMLButtonElement);
    list = by("member-list", HTMLUListElement);
    problem = by("members-problem", HTMLElement);
    rename = by("rename", HTMLInputElement);
    add = by("add", HTMLInputElement);
    chat = null;
    drawn = "";
    busy = false;
    constructor(model) {
        this.model = model;
        this.opener.addEventListener("click", () => this.show(this.panel.hidden));
        by("members-close", HTMLButtonElement).addEventListener("click", () => this.show(false));
        this.panel.addEventListener("keydown", (event) => {
            if (event.key === "Escape")
                this.show(false);
        });
        by("rename-form", HTMLFormElement).addEventListener("submit", (event) => {
            event.preventDefault();
            const name = this.rename.value.trim();
            if (name === "")
                this.problem.textContent = "A group needs a name.";
            else
                void this.change({ kind: "renamed", name });
        });
        by("add-form", HTMLFormElement).addEventListener("submit", (event) => {
            event.preventDefault();
            const users = usersIn(this.add.value);
            if (typeof users === "string")
                this.problem.textContent = users;
            else
                void this.change({ kind: "added", users: this.strangers(users) }, () => (this.add.value = ""));
        });
        by("leave", HTMLButtonElement).addEventListener("click", () => {
            // What was said stays; coming back needs an admin.
            if (confirm("Leave this group?"))
                void this.change({ kind: "left" }, () => this.show(false));
        });
    }
    /** Brings the panel in step with the open chat. */
    draw() {
        const { open, group } = this.model;
        if (this.chat !== open || !group) {
            this.chat = open;
            if (!this.panel.hidden)
                this.show(false, false);
        }
        if (group && !this.panel.hidden)
            this.fill(group);
    }
    show(shown, focus = true) {
        this.panel.hidden = !shown;
        this.talk.dataset["members"] = String(shown);
        this.opener.setAttribute("aria-expanded", String(shown));
        this.problem.textContent = "";
        this.drawn = "";
        const { group } = this.model;
        if (shown && group) {
            this.fill(group);
            by("members-title", HTMLElement).focus();
        }
        else if (focus)
            this.opener.focus();
    }
    fill(group) {
        const { user } = this.model.account;
        const admin = isAdmin(group, user);
        const state = JSON.stringify([group.name, group.members, group.present, admin]);
        if (state === this.drawn)
            return;
        this.drawn = state;
        by("rename-form", HTMLElement).hidden = !admin;
        by("add-form", HTMLElement).hidden = !admin;
        by("leave", HTMLElement).hidden = !group.present;
        if (document.activeElement !== this.rename)
            this.rename.value = group.name;
        const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["act"] : undefined;
        this.list.replaceChildren(...group.members.map((member) => this.item(member, member.user === user, admin)));
        if (focused)
            (this.list.querySelector(`[data-act="${focused}"]`) ?? by("members-title", HTMLElement)).focus();
    }
    item({ user, role }, self, admin) {
        const avatar = make("span", "avatar");
        avatar.setAttribute("aria-hidden", "true");
        paint(avatar, user);
        const item = make("li", "member", avatar, make("span", "name", self ? `${nameOf(user)} (you)` : nameOf(user)));
        if (role === "admin")
            item.append(make("span", "badge", "Admin"));
        if (!admin || self)
            return item;
        const other = role === "admin" ? "member" : "admin";
        const promote = this.button(role === "admin" ? "Remove admin" : "Make admin", user, { kind: "role", users: [user], role: other });
        item.append(make("span", "acts", promote, this.button("Remove", user, { kind: "removed", users: [user] })));
        return item;
    }
    button(words, user, change) {
        const button = make("button", "", words);
        button.type = "button";
        button.dataset["act"] = `${change.kind} ${user}`;
        button.setAttribute("aria-label", `${words}: ${nameOf(user)}`);
        button.addEventListener("click", () => void this.change(change));
        return button;
    }
    /** Those who are not in the group yet; all, if all are, for the server to say so. */
    strangers(users) {
        const strangers = users.filter((user) => !this.model.group?.members.some((member) => member.user === user));
        return strangers.length > 0 ? strangers : users;
    }
    /** One change at a time; what is refused is said. */
    async change(change, done = () => { }) {
        if (this.busy)
            return;
        this.busy = true;
        this.panel.setAttribute("aria-busy", "true");
        this.problem.textContent = "";
        try {
            await this.model.change(change);
            done();
        }
        catch (error) {
            this.problem.textContent = wordsOf(error);
        }
        this.busy = false;
        this.panel.removeAttribute("aria-busy");
    }
}
