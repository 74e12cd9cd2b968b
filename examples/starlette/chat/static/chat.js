"use strict";

const room = document.getElementById("room");
const state = document.getElementById("state");
const form = document.getElementById("say");

// The number of the last message that is shown, and what the server has not confirmed yet.
let last = 0;
let socket;
let wait = 250;
const unconfirmed = new Map();

function show(message) {
  if (message.id <= last) return;
  last = message.id;
  const item = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = message.name;
  item.append(name, " ", message.text);
  room.append(item);
  item.scrollIntoView({ block: "nearest" });
}

function connect() {
  const address = new URL("talk", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  if (last) address.searchParams.set("after", last);
  socket = new WebSocket(address);
  socket.onopen = () => {
    state.textContent = "Connected";
    wait = 250;
    for (const message of unconfirmed.values()) socket.send(JSON.stringify(message));
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.stored) unconfirmed.delete(message.token);
    else show(message);
  };
  // 1012: the server has another release. Whatever the reason, come back, and not all at once.
  socket.onclose = () => {
    state.textContent = "Reconnecting…";
    setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 10000);
  };
}

form.onsubmit = (event) => {
  event.preventDefault();
  const message = { name: form.elements.name.value, text: form.elements.text.value, token: String(Math.random()) };
  unconfirmed.set(message.token, message);
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  form.elements.text.value = "";
};

connect();
